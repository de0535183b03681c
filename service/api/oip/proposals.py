"""The input `proposals` of a Fast R-CNN: regions beside the images, FP32 [N, P, 4], a row of four zeros for none."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.api.oip.values import InputTensor
from service.bundle import MOST_PROPOSALS
from service.errors import InvalidRequest
from service.proposals import Box

INPUT: dict[str, object] = {"name": "proposals", "datatype": "FP32", "shape": [-1, -1, 4]}


def split_proposals(
    inputs: tuple[InputTensor, ...],
) -> tuple[tuple[InputTensor, ...], tuple[tuple[Box, ...], ...] | None]:
    """The other inputs, and the regions of each image; None where none are sent. Raises InvalidRequest."""
    sent = [tensor for tensor in inputs if tensor.name == "proposals"]
    others = tuple(tensor for tensor in inputs if tensor.name != "proposals")
    if not sent:
        return others, None
    if len(sent) > 1:
        raise InvalidRequest("inputs: proposals is given twice; expected once.")
    return others, tuple(_boxes(image) for image in _values(sent[0]))


def of_images(proposals: tuple[tuple[Box, ...], ...] | None, count: int) -> tuple[tuple[Box, ...], ...]:
    """Those of each of count images. Raises InvalidRequest where they are of another number of images."""
    if proposals is None:
        return ((),) * count
    if len(proposals) != count:
        raise InvalidRequest(f"proposals: its first axis is {len(proposals)}; expected {count}, one row an image.")
    return proposals


def _values(tensor: InputTensor) -> NDArray[np.float32]:
    shape = tensor.shape
    if tensor.datatype != "FP32":
        raise InvalidRequest(f"proposals: expected datatype FP32, got {tensor.datatype!r:.40}.")
    if len(shape) != 3 or shape[2] != 4 or min(shape) < 0:
        raise InvalidRequest(f"proposals: expected shape [N, P, 4], got {list(shape)!s:.100}.")
    if shape[1] > MOST_PROPOSALS:
        raise InvalidRequest(f"proposals: {shape[1]} an image; at most {MOST_PROPOSALS} are accepted.")
    values = _numbers(tensor.data)
    if values.size != np.prod(shape):
        raise InvalidRequest(f"proposals: its shape {list(shape)} says {np.prod(shape)} numbers, {values.size} came.")
    return values.reshape(shape)


def _numbers(data: Any) -> NDArray[np.float32]:
    try:
        if isinstance(data, memoryview):
            return np.frombuffer(data, "<f4")
        return np.array(data, np.float32).ravel()
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(f"proposals: its data are not numbers in rows of four ({error!s:.100}).") from None


def _boxes(rows: NDArray[np.float32]) -> tuple[Box, ...]:
    return tuple((float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in rows[rows.any(1)])
