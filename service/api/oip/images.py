"""The inputs of a request -> its images: `image` (encoded files) or `pixels` (decoded RGB)."""

import math

import numpy as np
from numpy.typing import NDArray

from service.api.oip.tensors import byte_strings, octets, split_elements
from service.api.oip.values import InputTensor, TensorLimits
from service.errors import ImageTooLarge, InvalidRequest

Image = bytes | NDArray[np.uint8]

INPUTS: tuple[dict[str, object], ...] = (
    {"name": "image", "datatype": "BYTES", "shape": [-1]},
    {"name": "pixels", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
)


def read_images(inputs: tuple[InputTensor, ...], limits: TensorLimits) -> list[Image]:
    """
    The images of one request in order: encoded bytes, or (H, W, 3) uint8 RGB views of the request's own memory.

    Raises InvalidRequest (input, dtype, shape or contents wrong, or too many images) or ImageTooLarge.
    """
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs) or "none"
        raise InvalidRequest(f"inputs: expected exactly one, image or pixels; got {names:.200}.")
    (tensor,) = inputs
    if tensor.name == "image":
        return _encoded(tensor, limits)
    if tensor.name == "pixels":
        return _decoded(tensor, limits)
    raise InvalidRequest(f"inputs: there is no input {tensor.name!r:.100}; expected image or pixels.")


def _encoded(tensor: InputTensor, limits: TensorLimits) -> list[Image]:
    count = _checked(tensor, "BYTES", "[N]", len(tensor.shape) == 1, limits)
    if isinstance(tensor.data, memoryview):
        return [bytes(element) for element in split_elements("image", tensor.data, count)]
    elements = byte_strings("image", tensor.data)
    if len(elements) != count:
        raise InvalidRequest(f"image: its shape says {count} elements, its data has {len(elements)}.")
    return list(elements)


def _decoded(tensor: InputTensor, limits: TensorLimits) -> list[Image]:
    shape = tensor.shape
    count = _checked(tensor, "UINT8", "[N, H, W, 3]", len(shape) == 4 and shape[3] == 3 and min(shape) > 0, limits)
    if shape[1] * shape[2] > limits.max_image_pixels:
        raise ImageTooLarge(
            f"pixels: images of {shape[2]} x {shape[1]} pixels; at most {limits.max_image_pixels} are accepted."
        )
    raw = tensor.data if isinstance(tensor.data, memoryview) else octets("pixels", tensor.data, len(shape))
    if len(raw) != math.prod(shape):
        raise InvalidRequest(f"pixels: its shape {list(shape)} says {math.prod(shape)} bytes, {len(raw)} came.")
    pixels = np.frombuffer(raw, np.uint8).reshape(shape)
    return [pixels[index] for index in range(count)]


def _checked(tensor: InputTensor, datatype: str, wanted: str, fits: bool, limits: TensorLimits) -> int:
    """N. Raises InvalidRequest."""
    if tensor.datatype != datatype:
        raise InvalidRequest(f"{tensor.name}: expected datatype {datatype}, got {tensor.datatype!r:.40}.")
    if not fits:
        raise InvalidRequest(f"{tensor.name}: expected shape {wanted}, got {list(tensor.shape)!s:.100}.")
    count = tensor.shape[0]
    if not 1 <= count <= limits.max_images:
        raise InvalidRequest(f"{tensor.name}: {count} images; from 1 to {limits.max_images} are accepted in a request.")
    return count
