"""Write a corpus to begin with: small pictures of every format and whole requests, each behind its choosing byte."""

import gzip
import io
import json
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(_seeds()):
        (folder / f"seed-{index:02}").write_bytes(seed)


def _seeds() -> Iterator[bytes]:
    gradient = np.arange(24 * 16 * 3, dtype=np.uint32).reshape(16, 24, 3).astype(np.uint8)
    pictures = [_encoded(gradient, mode, kind) for mode, kind in _KINDS]
    yield from (b"\x01" + picture for picture in pictures)
    yield from (b"\x10" + _framed("image", "BYTES", [1], struct.pack("<I", len(p)) + p) for p in pictures[:3])
    pixels = _framed("pixels", "UINT8", [1, 2, 2, 3], bytes(range(12)))
    yield b"\x10" + pixels
    yield b"\x12" + gzip.compress(pixels)
    yield b"\x14" + zlib.compress(pixels)
    listed = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [[[[1, 2, 3]]]]}
    parameters = {"score_threshold": 0.5, "nms": "hard", "classes": "a,b", "timeout": 10, "binary_data_output": True}
    yield b"\x20" + json.dumps({"inputs": [listed], "parameters": parameters, "outputs": [{"name": "boxes"}]}).encode()
    yield (
        b"\x00"
        + json.dumps(
            {"id": "1", "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}]}
        ).encode()
    )


_KINDS = (
    ("RGB", "PNG"),
    ("RGB", "JPEG"),
    ("RGB", "WEBP"),
    ("RGB", "BMP"),
    ("RGB", "TIFF"),
    ("RGBA", "PNG"),
    ("P", "PNG"),
    ("L", "JPEG"),
    ("CMYK", "JPEG"),
    ("I;16", "PNG"),
    ("F", "TIFF"),
)


def _encoded(rgb: np.ndarray, mode: str, kind: str) -> bytes:
    picture = Image.fromarray(rgb).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    body = io.BytesIO()
    picture.save(body, kind)
    return body.getvalue()


def _framed(name: str, datatype: str, shape: list[int], raw: bytes) -> bytes:
    """A request with one binary tensor, its header's length in two bytes before it."""
    tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [tensor]}).encode()
    return struct.pack("<H", len(header)) + header + raw


if __name__ == "__main__":
    main(Path(sys.argv[1]))
