"""The traffic: real images read once, resized where a run asks for sizes, dealt out evenly and in a seeded order."""

import io
import math
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

SHIPPED = Path(__file__).parent.parent / "model" / "zoo"
"""The shipped models, whose golden images are the traffic where no folder is given."""

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


def read_pictures(folder: Path | None) -> list[Picture]:
    """
    Every image of the folder (not of its subfolders) in name order; of the shipped models' golden folders where it is
    None. Raises NoPictures.
    """
    if folder is None:
        goldens = sorted(SHIPPED.glob("*/*/golden"))
        if not goldens:
            raise NoPictures(f"no golden images in {SHIPPED}: name a folder of images")
        return [picture for golden in goldens for picture in read_pictures(golden)]
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


def spread_sizes_wh(count: int, side_px: int, widest: float) -> list[tuple[int, int]]:
    """
    `count` sizes of about side_px squared pixels, from upright to lying: aspect ratios (width / height) from 1 / widest
    to widest in equal steps of their logarithm, each in the middle of its step, so that one size alone is square.
    """
    aspects = [widest ** (2 * (index + 0.5) / count - 1) for index in range(count)]
    return [(round(side_px * math.sqrt(aspect)), round(side_px / math.sqrt(aspect))) for aspect in aspects]


def resize_to(pictures: Sequence[Picture], sizes_wh: Sequence[tuple[int, int]]) -> list[Picture]:
    """Each picture in each size, as PNG: so many pictures of exactly so many sizes, with real content."""
    return [_resized(picture, size_wh) for size_wh in sizes_wh for picture in pictures]


def _resized(picture: Picture, size_wh: tuple[int, int]) -> Picture:
    body = io.BytesIO()
    with Image.open(io.BytesIO(picture.body)) as image:
        image.convert("RGB").resize(size_wh, Image.Resampling.BILINEAR).save(body, "PNG")
    name = f"{picture.name}@{size_wh[0]}x{size_wh[1]}"
    return Picture(name, CONTENT_TYPES[".png"], body.getvalue(), size_wh)


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
