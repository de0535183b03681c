"""The traffic: encoded images read once from a folder, dealt out evenly and in a seeded order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}

EXIF_ORIENTATION = 0x0112
SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height when the image is turned upright."""


class NoPictures(Exception):
    """The folder given holds nothing to send."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded image, as it goes over the wire."""

    name: str
    content_type: str
    body: bytes
    upright_wh: tuple[int, int] | None
    """Width and height in pixels as a person sees it (EXIF applied); None where it cannot be read from the header."""


def read_pictures(folder: Path) -> list[Picture]:
    """Every image of the folder (not of its subfolders) in name order. Raises NoPictures."""
    if not folder.is_dir():
        raise NoPictures(f"{folder} is not a folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in CONTENT_TYPES)
    if not paths:
        raise NoPictures(f"no images in {folder}: expected files ending in {', '.join(CONTENT_TYPES)}")
    return [_read_picture(path) for path in paths]


def deal(pictures: Sequence[Picture], count: int, seed: int) -> list[Picture]:
    """`count` pictures in a seeded order, going round the folder so that none is sent more than once above another."""
    random = np.random.default_rng(seed)
    dealt: list[Picture] = []
    while len(dealt) < count:
        dealt.extend(pictures[index] for index in random.permutation(len(pictures)))
    return dealt[:count]


def _read_picture(path: Path) -> Picture:
    return Picture(path.name, CONTENT_TYPES[path.suffix.lower()], path.read_bytes(), _upright_wh(path))


def _upright_wh(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
            is_sideways = image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # a broken image is traffic too: what the service answers is what is being measured
    return (height, width) if is_sideways else (width, height)
