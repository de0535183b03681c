"""Everything a client may send as an image: it works as a person expects, or the error says what is wrong."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from service.errors import (
    ImageTooLarge,
    InvalidRequest,
    PayloadTooLarge,
    UndecodableImage,
    UnsupportedMediaType,
)
from service.images import Limits, decode

LIMITS = Limits(max_bytes=5_000_000, max_pixels=20_000_000)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    body = io.BytesIO()
    image.save(body, format, **options)
    return body.getvalue()


def photo(width: int = 40, height: int = 30) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_every_accepted_format_is_read(format: str) -> None:
    """The same picture from five formats."""
    image = decode(encoded(photo(), format), LIMITS)
    assert image.shape == (30, 40, 3) and image.dtype == np.uint8
    assert image[15, 5, 0] > 200 and image[15, 35, 2] > 200


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("turned", range(9))
def test_jpeg_pixels_are_pillows(mode: str, subsampling: str, turned: int) -> None:
    """The fast decoder gives what Pillow gives, to the last bit, in every EXIF orientation (0 is none of them)."""
    noise = np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)
    body = encoded(Image.fromarray(noise).convert(mode), "JPEG", subsampling=subsampling, exif=orientation(turned))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
    np.testing.assert_array_equal(decode(body, LIMITS), np.asarray(expected))


def test_a_jpeg_that_breaks_anywhere_is_pillows_or_refused() -> None:
    """Cut short, with bytes changed and bytes missing: the two decoders agree on what is an image and on its pixels."""
    body, rng = encoded(photo(64, 48), "JPEG"), np.random.default_rng(0)
    for trial in range(150):
        broken = bytearray(body)
        place = int(rng.integers(20, len(body) - 2))
        if trial % 3 == 0:
            del broken[place:]
        elif trial % 3 == 1:
            broken[place] = rng.integers(256)
        else:
            del broken[place : place + int(rng.integers(1, 30))]
        try:
            expected = np.asarray(Image.open(io.BytesIO(broken)).convert("RGB"))
        except Exception:
            with pytest.raises((UndecodableImage, UnsupportedMediaType, ImageTooLarge)):
                decode(bytes(broken), LIMITS)
        else:
            if expected.size <= 3 * LIMITS.max_pixels:
                np.testing.assert_array_equal(decode(bytes(broken), LIMITS), expected)


def test_exif_orientation_is_applied() -> None:
    """A photo taken sideways arrives upright: the left becomes the top."""
    image = decode(encoded(photo(), "JPEG", exif=orientation(6)), LIMITS)
    assert image.shape == (40, 30, 3)
    assert image[5, 15, 0] > 200 and image[35, 15, 2] > 200


def test_cmyk_becomes_rgb() -> None:
    """Print colours come out as screen colours."""
    image = decode(encoded(photo().convert("CMYK"), "JPEG"), LIMITS)
    assert image[15, 5, 0] > 180 > image[15, 5, 2]


def test_sixteen_bits_become_eight() -> None:
    """A microscope's 16-bit grey keeps its proportions."""
    deep = Image.fromarray(np.full((10, 10), 32896, np.uint16))
    np.testing.assert_array_equal(decode(encoded(deep, "PNG"), LIMITS), 128)


def test_transparency_is_laid_over_white() -> None:
    """What a viewer shows as white is white, not whatever colour hides beneath."""
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    np.testing.assert_array_equal(decode(encoded(clear, "PNG"), LIMITS), 255)


def test_a_palette_with_transparency_is_read() -> None:
    """Palettes become colours, their clear entry white."""
    paletted = photo().quantize(4)
    image = decode(encoded(paletted, "PNG", transparency=paletted.getpixel((0, 0))), LIMITS)
    np.testing.assert_array_equal(image[15, 5], 255)
    assert image[15, 35, 2] > 200


def test_a_zip_bomb_is_not_unpacked_beyond_its_last_pixel() -> None:
    """A PNG of 4 x 4 pixels whose data would inflate to 300 MB: only what the header promised is unpacked."""
    bomb = png_of(4, 4, zlib.compress(bytes(300_000_000)))
    tracemalloc.start()
    assert decode(bomb, LIMITS).shape == (4, 4, 3)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize("size", [(1, 1), (4000, 20)])
def test_odd_shapes_are_read(size: tuple[int, int]) -> None:
    """One pixel and a ribbon are pictures too."""
    assert decode(encoded(photo(*size), "PNG"), LIMITS).shape == (size[1], size[0], 3)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    """An animated WebP is a picture whose first frame counts."""
    frames = [photo(), Image.new("RGB", (40, 30), "green")]
    body = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(body, LIMITS)[15, 5, 0] == 255


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        pytest.param(b"", InvalidRequest, "empty", id="empty"),
        pytest.param(b"just some text", UnsupportedMediaType, "expected JPEG, PNG", id="text"),
        pytest.param(encoded(photo(), "GIF"), UnsupportedMediaType, "expected JPEG, PNG", id="gif"),
        pytest.param(
            encoded(photo(400, 300), "JPEG")[:900], UndecodableImage, "cannot be decoded", id="truncated jpeg"
        ),
        pytest.param(encoded(photo(400, 300), "PNG")[:60], UndecodableImage, "Send a whole", id="truncated png"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"x" * 50, UndecodableImage, "cannot be decoded", id="png magic only"),
        pytest.param(b"RIFF\x10\x00\x00\x00WAVEfmt ", UndecodableImage, "broken", id="a sound in RIFF"),
        pytest.param(png_of(50_000, 50_000, b""), ImageTooLarge, "pixels", id="50000 x 50000 header"),
        pytest.param(png_of(6_000, 6_000, b""), ImageTooLarge, "6000 x 6000", id="36 Mpx header"),
        pytest.param(bytes(6_000_000), PayloadTooLarge, "at most 5000000", id="too many zeros"),
        pytest.param(bytes(4_000_000), UnsupportedMediaType, "expected JPEG, PNG", id="zeros"),
    ],
)
def test_what_is_not_a_good_image_is_refused_with_its_reason(body: bytes, error: type[Exception], words: str) -> None:
    """Each bad input gets the error that names what is wrong and what is accepted."""
    with pytest.raises(error, match=words):
        decode(body, LIMITS)


def test_a_side_longer_than_allowed_is_refused() -> None:
    """A ribbon of few pixels is still longer than anything downstream is made for."""
    with pytest.raises(ImageTooLarge, match="4000 x 2"):
        decode(encoded(photo(4000, 2), "PNG"), Limits(10**6, 10**6, max_side_px=3999))


@pytest.mark.parametrize(("mode", "kind"), [("1", "TIFF"), ("L", "PNG"), ("LA", "PNG"), ("P", "BMP"), ("RGBA", "TIFF")])
def test_every_colour_mode_keeps_what_is_light_and_dark(mode: str, kind: str) -> None:
    """White on the left and black on the right stay so, in one bit, grey, palettes and with alpha."""
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, :10] = 255
    image = decode(encoded(Image.fromarray(pixels).convert(mode), kind), LIMITS)
    assert (image[:, 2] == 255).all() and (image[:, 17] == 0).all()


def test_colour_profiles_are_left_alone() -> None:
    """The numbers in the file are the numbers the model sees, as in training, whatever profile is embedded."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    body = encoded(photo(), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(decode(body, LIMITS), np.asarray(photo()))
    np.testing.assert_array_equal(decode(encoded(photo(), "PNG", icc_profile=b"rubbish"), LIMITS), np.asarray(photo()))
