"""
A graph must not make an engine read other files: ONNX tensors may name any path as where their values lie.

Read from the file's bytes by the wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding) and
the field numbers of onnx.proto, descending only into what can hold a tensor: values are stepped over, not read.
"""

import mmap
from pathlib import Path

from service.errors import BundleInvalid

# kind of message -> field number -> kind of the message in it
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION, _OP_TYPE = 13, 14, 4
_COMPILED = b"EPContext"  # a node of ONNX Runtime's that may name a file with a graph compiled elsewhere
_MOST_DEPTH = 100  # that of protobuf's own parsers
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def check_self_contained(path: Path) -> None:
    """Raises BundleInvalid if the graph in path refers to another file, or is no ONNX."""
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _check(data, 0, len(data), "model", 0)
        except _NotSelfContained as error:
            raise BundleInvalid(f"{path}: {error}; a bundle's graphs carry all of their data inside") from None
        except (ValueError, IndexError):  # mmap refuses an empty file with ValueError
            raise BundleInvalid(f"{path} is no ONNX graph") from None


class _NotSelfContained(Exception):
    pass


def _check(data: mmap.mmap, at: int, end: int, kind: str, depth: int) -> None:
    """Go through the fields of one message, between two offsets in bytes."""
    if depth > _MOST_DEPTH:
        raise ValueError("nested too deeply")
    while at < end:
        tag, at = _varint(data, at)
        field, start = tag >> 3, at
        value, at = _field(data, at, tag & 7)
        if at > end or not field:
            raise ValueError("a field reaches beyond its message")
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
            raise _NotSelfContained("a tensor names another file for its values")
        if kind == "node" and field == _OP_TYPE and data[at - value : at] == _COMPILED:
            raise _NotSelfContained("a node names another file with a compiled graph")
        inside = _INSIDE[kind].get(field)
        if inside is not None and at > start:
            if tag & 7 != _LENGTH:
                raise ValueError("a message of the wrong wire type")
            _check(data, at - value, at, inside, depth + 1)


def _field(data: mmap.mmap, at: int, wire: int) -> tuple[int, int]:
    """A number, or the length of what is not one; and the offset behind it."""
    if wire == _VARINT:
        return _varint(data, at)
    if wire == _LENGTH:
        length, at = _varint(data, at)
        return length, at + length
    if wire in (_EIGHT_BYTES, _FOUR_BYTES):
        length = 8 if wire == _EIGHT_BYTES else 4
        return length, at + length
    raise ValueError("a wire type nobody writes")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
