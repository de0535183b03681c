"""What of an image and its answer is kept, and what is not."""

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.detections import Answer, Detections, ModelId, RleMask, Timings
from service.images import Limits, decode
from service.sampling.redaction import Note, blurred, pack, unpack

NOTE = Note("2026-01-02T03:04:05+00:00", ("random",), 0.5, "camera-7", "ab" * 16, None)
NOISE = np.random.default_rng(5).integers(0, 256, (120, 160, 3)).astype(np.uint8)


def found(*boxes: tuple[float, float, float, float], labels: tuple[str, ...], hw: tuple[int, int]) -> Detections:
    count = len(boxes)
    masks = tuple(RleMask(hw, "secret-outline") for _ in boxes)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(hw, array, np.full(count, 0.75, np.float32), np.ones(count, np.int64), labels, masks)


def answer(detections: Detections) -> Answer:
    return Answer(ModelId("toy", "1", "sha256:0"), detections, Timings({}, 0.01))


def decoded(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_pixels_are_kept_exactly_and_the_answer_without_masks() -> None:
    detections = found((10, 20, 30, 40), labels=("thing",), hw=(120, 160))
    packed = pack(NOISE, answer(detections), NOTE, frozenset())
    png, described = unpack(packed)
    assert np.array_equal(decoded(png), NOISE)
    assert described["detections"] == [{"box": [10, 20, 30, 40], "score": 0.75, "label": "thing", "label_id": 1}]
    assert described["image"] == {"width": 160, "height": 120}
    assert (described["source"], described["trace_id"]) == ("camera-7", "ab" * 16)
    assert b"secret-outline" not in packed


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_nothing_but_pixels_is_left_of_a_file(format: str) -> None:
    """EXIF with its place, text and colour profile stay behind; the turn EXIF asks for has been made."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8298] = 6, "Secret-Maker", "Secret-Owner"
    exif.get_ifd(0x8825)[0x001D] = "Secret-Place"
    body = io.BytesIO()
    more = {"icc_profile": b"Secret-Profile" + bytes(200)} if format != "TIFF" else {}
    Image.fromarray(NOISE).save(body, format, exif=exif, **more)
    assert b"Secret-" in body.getvalue()
    pixels = decode(body.getvalue(), Limits(10**7, 10**7))
    packed = pack(pixels, answer(found(labels=(), hw=(160, 120))), NOTE, frozenset())
    png, _ = unpack(packed)
    assert b"Secret" not in packed
    with Image.open(io.BytesIO(png)) as kept:
        assert kept.size == (120, 160) and dict(kept.getexif()) == {} and kept.info == {}


@pytest.mark.parametrize(
    "box", [(40.4, 30.6, 100.2, 90.7), (-5, -5, 50, 50), (120, 80, 400, 400), (10, 10, 11.5, 11.5), (0, 0, 160, 120)]
)
def test_nothing_of_a_blurred_box_can_be_recognized(box: tuple[float, float, float, float]) -> None:
    """All pixels the box touches are changed to at most 4 x 4 means with what lies between; nothing far from it is."""
    detections = found(box, labels=("face",), hw=(120, 160))
    hidden = blurred(NOISE, detections, frozenset({"face"}))
    left, top = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
    right, bottom = min(int(np.ceil(box[2])), 160), min(int(np.ceil(box[3])), 120)
    inside, before = (pixels[top:bottom, left:right].astype(float) for pixels in (hidden, NOISE))
    if inside.shape[0] > 10:
        assert np.abs(np.diff(inside, axis=1)).mean() < 0.1 * np.abs(np.diff(before, axis=1)).mean()
        assert abs(np.corrcoef(inside.ravel(), before.ravel())[0, 1]) < 0.2
    far = np.ones((120, 160), bool)
    reach = int(0.05 * max(box[2] - box[0], box[3] - box[1])) + 2
    far[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach] = False
    assert np.array_equal(hidden[far], NOISE[far])


def test_what_was_in_a_blurred_box_depends_on_its_means_alone() -> None:
    """Two faces with the same sixteen means leave the same picture: what told them apart is gone for good."""
    detections = found((42, 34, 110, 86), labels=("face",), hw=(120, 160))
    # widened by 5 %: x 38 to 114, y 31 to 89; cells of 19 x 14.5 pixels. Rows 46 to 59 lie within one cell.
    one, other = NOISE.copy(), NOISE.copy()
    one[46:60, 38:57] = 100
    other[46:60, 38:57] = np.where(np.indices((14, 19)).sum(0)[..., None] % 2, 60, 140)
    hidden, same = (blurred(image, detections, frozenset({"face"})) for image in (one, other))
    assert not np.array_equal(one, other)
    assert np.array_equal(hidden, same)


def test_boxes_of_other_classes_and_the_image_given_stay_as_they_are() -> None:
    detections = found((10, 10, 60, 60), (80, 60, 140, 110), labels=("cell", "face"), hw=(120, 160))
    before = NOISE.copy()
    hidden = blurred(NOISE, detections, frozenset({"face"}))
    assert np.array_equal(NOISE, before)
    assert np.array_equal(hidden[10:57, 10:60], NOISE[10:57, 10:60])
    assert not np.array_equal(hidden[60:110, 80:140], NOISE[60:110, 80:140])


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_sample_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(ValueError, match="no sample"):
        unpack(content)


def test_what_only_a_candidate_has_seen_is_kept_and_hidden_too() -> None:
    seen = found((40, 30, 100, 90), labels=("face",), hw=(120, 160))
    note = replace(NOTE, candidate_outcome="extra", candidate_found=seen)
    empty = found(labels=(), hw=(120, 160))
    png, described = unpack(pack(NOISE, answer(empty), note, frozenset({"face"})))
    (row,) = described["candidate_detections"]
    assert (row["label"], row["box"]) == ("face", [40, 30, 100, 90])
    assert decoded(png)[35:85, 45:95].std() < NOISE[35:85, 45:95].std() / 2
    assert np.array_equal(decoded(png)[:20], NOISE[:20])
