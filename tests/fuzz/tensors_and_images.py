"""
Coverage-guided fuzzing of everything that reads a stranger's bytes before a model does: `make fuzz [SECONDS=300]`.

The binary-tensor parser and the image decoder may raise CallerError and nothing else. The target brings atheris.
"""

import sys

import atheris

with atheris.instrument_imports(include=["service", "PIL"]):
    from service.api.oip.body import decompressed, read_body
    from service.api.oip.images import read_images
    from service.api.oip.options import read_parameters
    from service.api.oip.values import TensorLimits
    from service.errors import CallerError
    from service.images import Limits, decode

_LIMITS = TensorLimits(max_images=4, max_image_bytes=100_000, max_image_pixels=100_000, max_request_bytes=10**6)
_IMAGE_LIMITS = Limits(_LIMITS.max_image_bytes, _LIMITS.max_image_pixels)
_ENCODINGS = (None, "gzip", "deflate")


def one_input(data: bytes) -> None:
    """The first byte chooses the reader, and how the rest is wrapped."""
    if not data:
        return
    choice, rest = data[0], data[1:]
    try:
        if choice & 1:
            decode(rest, _IMAGE_LIMITS)
        else:
            _infer(rest, choice)
    except CallerError:
        return


def _infer(rest: bytes, choice: int) -> None:
    """A REST request, as far as the model: its wrapping, header, tensors, options and encoded images."""
    body = decompressed(rest, _ENCODINGS[(choice >> 1) % 3], _LIMITS.max_body_bytes, lambda more: None)
    length = None
    if choice & 16 and len(body) > 1:
        length, body = str(int.from_bytes(body[:2], "little")), body[2:]
    request, _ = read_body(body, length, _LIMITS)
    read_parameters(request.parameters, wants_masks=bool(choice & 32))
    for image in read_images(request.inputs, _LIMITS):
        if isinstance(image, bytes):
            decode(image, _IMAGE_LIMITS)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
