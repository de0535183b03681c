"""
The binary side of the Open Inference Protocol v2: bytes <-> tensor contents. Pure, and every size is checked first.

Layout after the "binary tensor data" extension of the protocol: numbers row by row, little-endian; BYTES elements each
behind their length as 4 bytes, little-endian.
"""

import base64
import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from service.errors import InvalidRequest

_LENGTH = struct.Struct("<I")


def split_header(body: memoryview, header_length: str | None) -> tuple[memoryview, memoryview]:
    """
    A body -> its JSON part and the binary part behind it.

    header_length is Inference-Header-Content-Length as sent; without it the whole body is JSON. Raises InvalidRequest.
    """
    if header_length is None:
        return body, body[len(body) :]
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 20):
        raise InvalidRequest(f"Inference-Header-Content-Length: expected a number of bytes, got {header_length!r:.40}.")
    length = int(header_length)
    if not 0 < length <= len(body):
        raise InvalidRequest(
            f"Inference-Header-Content-Length says {length} bytes of JSON; the body has {len(body)} bytes in all."
        )
    return body[:length], body[length:]


def split_tensors(binary: memoryview, sizes: Sequence[tuple[str, int]]) -> list[memoryview]:
    """The binary part cut into tensors of the declared (name, binary_data_size). Raises InvalidRequest."""
    declared = sum(size for _, size in sizes)
    if declared != len(binary):
        names = ", ".join(f"{name} {size}" for name, size in sizes) or "none"
        raise InvalidRequest(
            f"The binary part has {len(binary)} bytes; binary_data_size declares {declared} ({names}). "
            "Check binary_data_size and Inference-Header-Content-Length."
        )
    parts, start = [], 0
    for _, size in sizes:
        parts.append(binary[start : start + size])
        start += size
    return parts


def split_elements(name: str, raw: memoryview, count: int) -> list[memoryview]:
    """The count BYTES elements in raw. Raises InvalidRequest where lengths and bytes disagree."""
    elements, start = [], 0
    for index in range(count):
        if len(raw) - start < _LENGTH.size:
            raise InvalidRequest(f"{name}: the bytes end before element {index} of {count}.")
        (length,) = _LENGTH.unpack_from(raw, start)
        start += _LENGTH.size
        if length > len(raw) - start:
            raise InvalidRequest(
                f"{name}: element {index} says {length} bytes, {len(raw) - start} are left. "
                "Each BYTES element stands behind its length as 4 bytes, little-endian."
            )
        elements.append(raw[start : start + length])
        start += length
    if start != len(raw):
        raise InvalidRequest(f"{name}: {len(raw) - start} bytes are left behind its {count} elements.")
    return elements


def join_elements(elements: Iterable[bytes]) -> bytes:
    """BYTES elements as split_elements reads them."""
    return b"".join(chain.from_iterable((_LENGTH.pack(len(element)), element) for element in elements))


def octets(name: str, data: object, depth: int) -> bytes:
    """
    A UINT8 tensor written as a list, flat or nested as deep as its shape, row by row. Raises InvalidRequest.

    bytes() refuses whatever is no whole number from 0 to 255, without a second copy of the list.
    """
    level = _list(name, data)
    for _ in range(depth - 1):
        if not (level and isinstance(level[0], list)):
            break
        try:
            level = list(chain.from_iterable(level))
        except TypeError as error:
            raise InvalidRequest(f"{name}: its data is nested unevenly ({error}).") from None
    try:
        return bytes(level)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"{name}: UINT8 data are whole numbers from 0 to 255 ({error}).") from None


def byte_strings(name: str, data: object) -> list[bytes]:
    """BYTES elements written as a list: bytes as they are, JSON strings as base64. Raises InvalidRequest."""
    return [_byte_string(name, index, element) for index, element in enumerate(_list(name, data))]


def _byte_string(name: str, index: int, element: object) -> bytes:
    if isinstance(element, bytes):
        return element
    if not isinstance(element, str):
        raise InvalidRequest(f"{name}: element {index} should be a string, the image file in base64.")
    try:
        return base64.b64decode(element, validate=True)
    except ValueError as error:
        raise InvalidRequest(f"{name}: element {index} is not base64 ({error}). In JSON, images are base64.") from None


def _list(name: str, data: object) -> list[Any]:
    if not isinstance(data, list):
        raise InvalidRequest(f"{name}: expected its data as a list, or in the binary part with binary_data_size.")
    return data
