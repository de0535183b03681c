"""Bytes -> RGB uint8 (H, W, 3), upright, within limits. Judged by content, never by name or declared type."""

import io
import struct
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from service.errors import ImageTooLarge, InvalidRequest, PayloadTooLarge, UndecodableImage, UnsupportedMediaType
from service.memory import DecodeMemory

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
ACCEPTED = "JPEG, PNG, WebP, BMP or TIFF"
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

# Measured peaks of decode() in bytes a pixel, by resident memory: at most 10.8 for 8-bit grey and RGB, 21.8 otherwise.
_PLAIN_MODES, _PLAIN_PEAK, _OTHER_PEAK = ("RGB", "L", "1"), 11, 22

# EXIF 2.32, tag 0x0112: whether rows and columns change places, then cv2.flip's axis (0 rows, 1 columns, -1 both)
_ORIENTATIONS: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}


@dataclass(frozen=True)
class Limits:
    """What an image may cost before anything is allocated for it."""

    max_bytes: int
    max_pixels: int
    max_side_px: int = 65_500  # libjpeg's own limit
    memory: DecodeMemory | None = None
    """Shared by all pictures that are decoded at the same time; None: no bound on their sum."""


def decode(body: bytes, limits: Limits) -> NDArray[np.uint8]:
    """
    One encoded image -> (H, W, 3) uint8 RGB with EXIF orientation applied.

    Transparency is laid over white, 16-bit and float pictures are brought to 8 bit, CMYK and palettes become RGB, of
    several frames the first is taken. Raises InvalidRequest, PayloadTooLarge, UnsupportedMediaType, ImageTooLarge or
    UndecodableImage.
    """
    if not body:
        raise InvalidRequest(f"The body is empty; expected the bytes of one {ACCEPTED} image.")
    if len(body) > limits.max_bytes:
        raise PayloadTooLarge(f"The image has {len(body)} bytes; at most {limits.max_bytes} are accepted.")
    if not body.startswith(_MAGIC):
        raise UnsupportedMediaType(f"The content is not an accepted image format; expected {ACCEPTED}.")
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as picture:
            _check_size(picture.size, limits)
            with _room(picture, limits):
                if picture.format == "JPEG" and picture.mode in ("RGB", "L"):
                    fast = _jpeg_to_rgb(body, picture.getexif().get(ExifTags.Base.Orientation, 1))
                    if fast is not None:
                        return fast
                return _to_rgb(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(
            f"The image's header declares too many pixels; at most {limits.max_pixels} are accepted."
        ) from error
    except UnidentifiedImageError as error:
        raise UndecodableImage(f"The image's header is broken; expected a whole {ACCEPTED} file.") from error
    except (OSError, ValueError, SyntaxError, struct.error, EOFError, TypeError, KeyError, IndexError) as error:
        # Pillow's decoders raise any of these on broken files.
        raise UndecodableImage(f"The image cannot be decoded: {error}. Send a whole {ACCEPTED} file.") from error


def _room(picture: Image.Image, limits: Limits) -> AbstractContextManager[None]:
    """A place in memory for what decoding picture will take at its peak."""
    if limits.memory is None:
        return nullcontext()
    plain = picture.mode in _PLAIN_MODES and picture.format != "WEBP"
    width, height = picture.size
    return limits.memory.room(width * height * (_PLAIN_PEAK if plain else _OTHER_PEAK))


def _check_size(size_wh: tuple[int, int], limits: Limits) -> None:
    width, height = size_wh
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"The image is {width} x {height} pixels; at most {limits.max_pixels} pixels are accepted.")
    if max(width, height) > limits.max_side_px:
        raise ImageTooLarge(
            f"The image is {width} x {height}; at most {limits.max_side_px} pixels a side are accepted."
        )
    if width < 1 or height < 1:
        raise UndecodableImage("The image has no pixels.")


def _jpeg_to_rgb(body: bytes, orientation: int) -> NDArray[np.uint8] | None:
    """
    By OpenCV in half of Pillow's time: both have libjpeg-turbo and give the same pixels, Pillow copies them twice more.

    None where OpenCV finds the file broken or cut short, for Pillow to say how.
    """
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        return None
    transposed, flip = _ORIENTATIONS.get(orientation, (False, None))
    if transposed:
        pixels = cv2.transpose(pixels)
    if flip is not None:
        pixels = cv2.flip(pixels, flip)
    return cast(NDArray[np.uint8], pixels)


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    ImageOps.exif_transpose(picture, in_place=True)
    upright: Image.Image = picture
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        return _deep_to_rgb(np.asarray(upright))
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.new("RGBA", rgba.size, "white")
        upright.alpha_composite(rgba)
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def _deep_to_rgb(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """16-bit integers are divided by 257; wider or float pictures are stretched between their extremes."""
    values = np.nan_to_num(pixels.astype(np.float32))
    if pixels.dtype.kind in "ui" and values.min() >= 0 and values.max() <= 65535:
        grey = values / 257
    else:
        low, high = values.min(), values.max()
        grey = (values - low) * (255 / max(high - low, 1e-6))
    return np.repeat(np.round(grey).astype(np.uint8)[:, :, None], 3, axis=2)
