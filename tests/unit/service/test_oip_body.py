"""The binary-tensor parser and what surrounds it: what goes in comes out, and every lie about a size is found."""

import base64
import tracemalloc
import zlib
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.oip.body import decompressed, read_body
from service.api.oip.images import read_images
from service.api.oip.options import read_parameters
from service.api.oip.tensors import join_elements, octets, split_elements
from service.api.oip.values import TensorLimits
from service.detections import DetectOptions
from service.errors import CallerError, ImageTooLarge, InvalidOption, InvalidRequest, PayloadTooLarge

LIMITS = TensorLimits(max_images=4, max_image_bytes=30_000, max_image_pixels=10_000, max_request_bytes=10**6)


def images(body: bytes, header_length: str | None = None) -> list[Any]:
    """The images of a REST body."""
    request, _ = read_body(body, header_length, LIMITS)
    return read_images(request.inputs, LIMITS)


def image_tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(b"abc").decode()]} | changes


def pixels_tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "pixels", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": list(range(12))} | changes


def binary(tensor: dict[str, Any], raw: bytes, size: int | None = None) -> tuple[bytes, str]:
    """A body with tensor's contents behind its JSON, and the header's length."""
    parameters = {"binary_data_size": len(raw) if size is None else size}
    without_data = {name: value for name, value in tensor.items() if name != "data"}
    header = orjson.dumps({"inputs": [without_data | {"parameters": parameters}]})
    return header + raw, str(len(header))


@given(st.lists(st.binary(max_size=50), max_size=9))
def test_elements_come_out_as_they_went_in(elements: list[bytes]) -> None:
    """For any bytes, empty ones included."""
    joined = join_elements(elements)
    assert [bytes(element) for element in split_elements("image", memoryview(joined), len(elements))] == elements


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_no_cut_of_the_bytes_is_taken_for_the_whole(elements: list[bytes], data: st.DataObject) -> None:
    """Any shorter tensor is refused."""
    joined = join_elements(elements)
    cut = data.draw(st.integers(0, len(joined) - 1))
    with pytest.raises(InvalidRequest):
        split_elements("image", memoryview(joined)[:cut], len(elements))


def test_json_and_binary_images_are_the_same() -> None:
    """Base64 in JSON; length and bytes in the binary part."""
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    assert images(orjson.dumps({"inputs": [image_tensor()]})) == [b"abc"]
    assert images(*binary(image_tensor(), b"\x03\0\0\0abc")) == [b"abc"]
    flat = images(orjson.dumps({"inputs": [pixels_tensor(shape=[2, 2, 2, 3], data=pixels.ravel().tolist())]}))
    nested = images(orjson.dumps({"inputs": [pixels_tensor(shape=[2, 2, 2, 3], data=pixels.tolist())]}))
    raw = images(*binary(pixels_tensor(shape=[2, 2, 2, 3]), pixels.tobytes()))
    for read in (flat, nested, raw):
        np.testing.assert_array_equal(np.stack(read), pixels)


BAD_INPUTS = [
    ("wrong name", image_tensor(name="picture"), "no input 'picture'"),
    ("wrong dtype of image", image_tensor(datatype="FP32"), "expected datatype BYTES"),
    ("wrong dtype of pixels", pixels_tensor(datatype="FP32"), "expected datatype UINT8"),
    ("image with two axes", image_tensor(shape=[1, 1]), r"expected shape \[N\]"),
    ("pixels with four channels", pixels_tensor(shape=[1, 2, 2, 4]), r"expected shape \[N, H, W, 3\]"),
    ("no height", pixels_tensor(shape=[1, 0, 2, 3], data=[]), r"expected shape \[N, H, W, 3\]"),
    ("negative shape", pixels_tensor(shape=[1, -2, -2, 3]), r"expected shape \[N, H, W, 3\]"),
    ("no images", image_tensor(shape=[0], data=[]), "0 images; from 1 to 4"),
    ("too many images", image_tensor(shape=[5], data=[""] * 5), "5 images; from 1 to 4"),
    ("a huge number of images", image_tensor(shape=[2**62]), "from 1 to 4"),
    ("shape says two", image_tensor(shape=[2]), "says 2 elements, its data has 1"),
    ("shape says more pixels", pixels_tensor(shape=[1, 2, 3, 3]), "says 18 bytes, 12 came"),
    ("too large a number", pixels_tensor(data=[256] * 12), "whole numbers from 0 to 255"),
    ("a fraction", pixels_tensor(data=[0.5] * 12), "whole numbers from 0 to 255"),
    ("text for numbers", pixels_tensor(data=["1"] * 12), "whole numbers from 0 to 255"),
    ("uneven nesting", pixels_tensor(data=[[1], 2]), "nested unevenly"),
    ("not a list", pixels_tensor(data=12), "expected its data as a list"),
    ("nothing", image_tensor(data=None), "expected its data as a list"),
    ("not base64", image_tensor(data=["?"]), "not base64"),
    ("a number for an image", image_tensor(data=[7]), "in base64"),
    ("shared memory", image_tensor(parameters={"shared_memory_region": "x"}), "shared memory is not offered"),
]


@pytest.mark.parametrize(("tensor", "words"), [row[1:] for row in BAD_INPUTS], ids=[row[0] for row in BAD_INPUTS])
def test_wrong_inputs_are_refused_with_what_was_expected(tensor: dict[str, Any], words: str) -> None:
    """Names, dtypes, shapes, contents."""
    with pytest.raises(InvalidRequest, match=words):
        images(orjson.dumps({"inputs": [tensor]}))


def test_pictures_beyond_the_limit_are_refused_before_their_bytes_are_looked_at() -> None:
    """By their shape alone: an int64 of pixels is no allocation."""
    with pytest.raises(ImageTooLarge, match="at most 10000"):
        images(orjson.dumps({"inputs": [pixels_tensor(shape=[1, 101, 100, 3])]}))
    with pytest.raises(ImageTooLarge):
        images(orjson.dumps({"inputs": [pixels_tensor(shape=[1, 2**62, 2**62, 3])]}))


BAD_BODIES = [
    ("not JSON", b"hello", None, "not JSON"),
    ("binary without its header", binary(image_tensor(), b"\x03\0\0\0abc")[0], None, "not JSON"),
    ("no inputs", b"{}", None, "inputs: Field required"),
    ("unknown member", b'{"inputs": [], "x": 1}', None, "x: Extra inputs"),
    ("two inputs", orjson.dumps({"inputs": [image_tensor(), pixels_tensor()]}), None, "expected exactly one"),
    ("header length beyond the body", b"{}", "3", "says 3 bytes of JSON; the body has 2"),
    ("header length of nothing", b"{}", "0", "says 0 bytes"),
    ("header length in words", b"{}", "two", "expected a number of bytes"),
    ("negative header length", b"{}", "-1", "expected a number of bytes"),
    ("enormous header length", b"{}", "9" * 5000, "expected a number of bytes"),
    ("header length too short", binary(image_tensor(), b"")[0], "20", "not JSON"),
    ("truncated binary", binary(image_tensor(), b"\x03\0\0\0ab", 7)[0], None, "not JSON"),
    ("element longer than the tensor", *binary(image_tensor(), b"\xff\xff\xff\xffabc"), "says 4294967295 bytes, 3 are"),
    ("element missing", *binary(image_tensor(shape=[2]), b"\x03\0\0\0abc"), "end before element 1 of 2"),
    ("bytes behind the elements", *binary(image_tensor(), b"\x03\0\0\0abcd"), "1 bytes are left behind"),
    (
        "declares more than came",
        *binary(image_tensor(), b"\x03\0\0\0abc", 8),
        "has 7 bytes; binary_data_size declares 8",
    ),
    (
        "declares less than came",
        *binary(image_tensor(), b"\x03\0\0\0abc", 6),
        "has 7 bytes; binary_data_size declares 6",
    ),
    ("declares less than nothing", *binary(image_tensor(), b"", -1), "should be a number of bytes"),
    ("pixels too short", *binary(pixels_tensor(), bytes(11)), "says 12 bytes, 11 came"),
]


@pytest.mark.parametrize(
    ("body", "header_length", "words"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES]
)
def test_bodies_that_lie_about_sizes_are_refused(body: bytes, header_length: str | None, words: str) -> None:
    """Truncated sections, false lengths, leftovers."""
    with pytest.raises(InvalidRequest, match=words):
        images(body, header_length)


def test_a_small_body_that_unpacks_to_a_large_one_is_not_unpacked() -> None:
    """50 MB of zeros in 50 kB: refused after the first megabyte."""
    bomb = zlib.compress(bytes(50_000_000), 9)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge, match="unpacks to more than 1000000"):
            decompressed(bomb, "deflate", 1_000_000, lambda more: None)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_json_beyond_its_limit_is_refused_unread() -> None:
    """It would cost many times its size in memory."""
    with pytest.raises(PayloadTooLarge, match="Send binary tensors"):
        images(b"[" * (LIMITS.max_json_bytes + 1))


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 250).map(str)))
def test_no_bytes_do_anything_but_raise_a_callers_error(body: bytes, header_length: str | None) -> None:
    """Whatever comes: images, or a CallerError."""
    try:
        images(body, header_length)
    except CallerError:
        return


def test_a_false_declaration_allocates_nothing() -> None:
    """4 GiB announced by a body of a hundred bytes: the parser's peak stays below a hundred kilobytes."""
    body, header_length = binary(image_tensor(), b"\xff\xff\xff\xffabc")
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest):
            images(body, header_length)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_deep_nesting_costs_no_more_than_the_shape_allows() -> None:
    """A thousand levels for a tensor of four axes are refused at the fourth."""
    nested: object = [1]
    for _ in range(900):
        nested = [nested]
    with pytest.raises(InvalidRequest, match="whole numbers"):
        octets("pixels", nested, 4)


def test_parameters_become_options() -> None:
    """Numbers and flags also as text, for clients that cannot send them otherwise."""
    sent = {"score_threshold": "0.25", "class_agnostic": "true", "max_detections": 7, "classes": "thing,other"}
    chosen = read_parameters(sent | {"nms": "soft_linear", "timeout": 250_000}, wants_masks=True)
    assert chosen.options == DetectOptions(
        score_threshold=0.25,
        class_agnostic=True,
        max_detections=7,
        classes=("thing", "other"),
        nms="soft_linear",
        masks="rle",
    )
    assert chosen.timeout_s == 0.25
    assert read_parameters({}, wants_masks=False).options.masks == "none"
    assert read_parameters({"masks": "none"}, wants_masks=True).options.masks == "none"


@pytest.mark.parametrize(
    "sent",
    [
        {"score_threshold": 1.5},
        {"score_threshold": float("nan")},
        {"score_threshold": "much"},
        {"iou_threshold": -1},
        {"max_detections": 0},
        {"max_detections": 2.5},
        {"nms": "fuzzy"},
        {"class_agnostic": "perhaps"},
        {"classes": 3},
        {"masks": "polygon"},
        {"timeout": -1},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused_by_name(sent: dict[str, Any]) -> None:
    """Unknown ones too."""
    (name,) = sent
    with pytest.raises(InvalidOption, match=name):
        read_parameters(sent, wants_masks=True)
