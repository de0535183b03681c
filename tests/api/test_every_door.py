"""What holds for every door: the same detections for the same image, the same refusals for the same mistakes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.doors import DOORS, Door, Inexpressible, Refusal
from tests.conftest import Served, encode_picture

GOOD = encode_picture(80, 60, 200)
JPEG = encode_picture(300, 200, format="JPEG")

OPTIONS: list[dict[str, Any]] = [
    {},
    {"score_threshold": 0.1, "iou_threshold": 0.3, "max_detections": 3},
    {"nms": "soft_linear", "class_agnostic": True},
    {"nms": "soft_gaussian", "soft_nms_sigma": 0.25, "score_threshold": 0.3},
    {"class_score_thresholds": {"thing": 0.25, "other": 1.0}},
    {"classes": ["other"], "score_threshold": 0.0},
    *({"masks": masks} for masks in ("rle", "polygon", "png", "raw")),
    {"tta": ["flip"]},
    {"tta": ["scale", "flip"], "masks": "rle", "score_threshold": 0.3},
]

# (what is wrong, image, options, {model, version}, code, words, the option to blame)
REFUSED: list[tuple[str, bytes, dict[str, Any], dict[str, str], str, str, str]] = [
    ("empty body", b"", {}, {}, "invalid_request", "empty", ""),
    ("text", b"hello", {}, {}, "unsupported_media_type", "JPEG, PNG", ""),
    ("a GIF", b"GIF89a" + bytes(40), {}, {}, "unsupported_media_type", "JPEG, PNG", ""),
    ("cut short", JPEG[:700], {}, {}, "undecodable_image", "cannot be decoded", ""),
    ("a broken header", GOOD[:20], {}, {}, "undecodable_image", "", ""),
    ("too many pixels", encode_picture(60_000, 900, format="PNG"), {}, {}, "image_too_large", "60000 x 900", ""),
    ("score above 1", GOOD, {"score_threshold": 1.5}, {}, "invalid_option", "1.5", "score_threshold"),
    ("score below 0", GOOD, {"score_threshold": -0.5}, {}, "invalid_option", "-0.5", "score_threshold"),
    ("score not a number", GOOD, {"score_threshold": float("nan")}, {}, "invalid_option", "", "score_threshold"),
    ("score a word", GOOD, {"score_threshold": "high"}, {}, "invalid_option", "high", "score_threshold"),
    ("overlap below 0", GOOD, {"iou_threshold": -1.0}, {}, "invalid_option", "-1", "iou_threshold"),
    ("overlap above 1", GOOD, {"iou_threshold": 2.0}, {}, "invalid_option", "2", "iou_threshold"),
    ("no detections", GOOD, {"max_detections": 0}, {}, "invalid_option", "0", "max_detections"),
    ("too many detections", GOOD, {"max_detections": 10_001}, {}, "invalid_option", "10001", "max_detections"),
    ("sigma of 0", GOOD, {"soft_nms_sigma": 0.0}, {}, "invalid_option", "greater than 0", "soft_nms_sigma"),
    ("sigma of 11", GOOD, {"soft_nms_sigma": 11.0}, {}, "invalid_option", "11", "soft_nms_sigma"),
    ("unknown NMS", GOOD, {"nms": "fuzzy"}, {}, "invalid_option", "'soft_gaussian'", "nms"),
    ("unknown masks", GOOD, {"masks": "voxel"}, {}, "invalid_option", "'polygon'", "masks"),
    ("unknown view", GOOD, {"tta": ["upside_down"]}, {}, "invalid_option", "'flip' or 'scale'", "tta.0"),
    ("unknown option", GOOD, {"nonsense": 1}, {}, "invalid_option", "score_threshold, ", "nonsense"),
    ("unknown class", GOOD, {"classes": ["cat"]}, {}, "invalid_option", "cat; it has thing, other", ""),
    (
        "threshold of an unknown class",
        GOOD,
        {"class_score_thresholds": {"cat": 0.5}},
        {},
        "invalid_option",
        "cat; it has thing, other",
        "",
    ),
    (
        "threshold of a class above 1",
        GOOD,
        {"class_score_thresholds": {"thing": 1.5}},
        {},
        "invalid_option",
        "1.5",
        "class_score_thresholds.thing",
    ),
    ("unknown model", GOOD, {}, {"model": "none"}, "model_not_found", "Served: toy 1", ""),
    ("unknown version", GOOD, {}, {"version": "9"}, "model_not_found", "Served: toy 1", ""),
]
# The code decides the status, in every door alike.
STATUS = {
    "invalid_option": {"400", "INVALID_ARGUMENT"},
    "invalid_request": {"400", "INVALID_ARGUMENT"},
    "unsupported_media_type": {"415", "INVALID_ARGUMENT"},
    "undecodable_image": {"422", "INVALID_ARGUMENT"},
    "image_too_large": {"413", "INVALID_ARGUMENT"},
    "model_not_found": {"404", "NOT_FOUND"},
}


@pytest.fixture(scope="module", params=DOORS.values(), ids=DOORS.keys())
def door(request: pytest.FixtureRequest, fake_served: Served) -> Iterator[Door]:
    opened = request.param(fake_served)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def expected(fake_served: Served) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """What a raw image over REST is answered, the yardstick of all other doors."""
    raw = DOORS["rest-raw"](fake_served)
    yield lambda options: raw.detect(GOOD, options)
    raw.close()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_door_finds_the_same(door: Door, expected: Callable[..., Any], options: dict[str, Any]) -> None:
    """The same image and options: identical labels, scores, boxes and masks, to the last digit that is sent."""
    try:
        found = door.detect(GOOD, options)
    except Inexpressible as reason:
        pytest.skip(f"this door cannot even say it: {reason}")
    assert not isinstance(found, Refusal)
    assert found == expected(options)
    if not options:
        assert len(found) == 1


@pytest.mark.parametrize("row", REFUSED, ids=[row[0] for row in REFUSED])
def test_every_door_refuses_the_same(door: Door, row: tuple[Any, ...]) -> None:
    """Bad input gets the same stable code and words everywhere, and the next request is answered."""
    _, image, options, where, code, words, field = row
    try:
        refused = door.detect(image, options, **where)
    except Inexpressible as reason:
        pytest.skip(f"this door cannot even say it: {reason}")
    assert isinstance(refused, Refusal)
    assert refused.code == code
    assert refused.status is None or refused.status in STATUS[code]
    assert words in refused.detail
    assert refused.fields is None or refused.fields == ((field,) if field else ())
    assert not isinstance(door.detect(encode_picture(9, 9), {}), Refusal)


def test_no_door_takes_more_bytes_than_an_image_may_have(door: Door) -> None:
    """REST says so itself; gRPC refuses a message of that size before it is read."""
    refused = door.detect(bytes(35_000_000), {})
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.status) in {
        ("payload_too_large", "413"),
        ("payload_too_large", "INVALID_ARGUMENT"),
        ("", "RESOURCE_EXHAUSTED"),
    }
