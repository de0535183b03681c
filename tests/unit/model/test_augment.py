"""Whatever is done to a picture is done to its boxes and masks."""

from collections.abc import Callable

import numpy as np
import pytest

from model import augment
from model.datasets import Sample

Change = Callable[[Sample, np.random.Generator], Sample]
CHANGES: dict[str, Change] = {
    "crop": lambda sample, rng: augment.random_crop(sample, rng, 96, (0.8, 1.6)),
    "resize": lambda sample, rng: augment.random_resize(sample, rng, (96, 128), (0.8, 1.2)),
    "flip and turn": lambda sample, rng: augment.random_flip_and_turn(sample, rng, quarter_turns=True),
    "mosaic": lambda sample, rng: augment.mosaic([sample, *(flipped(sample, rng) for _ in range(3))], rng),
    "copy-paste": lambda sample, rng: augment.copy_paste(sample, flipped(sample, rng), rng),
}


def flipped(sample: Sample, rng: np.random.Generator) -> Sample:
    return augment.random_flip_and_turn(sample, rng, quarter_turns=True)


def sample_of_rectangles() -> Sample:
    """Three bright rectangles on black, their boxes tight around them."""
    boxes = np.array([[10, 12, 40, 50], [60, 20, 100, 44], [30, 70, 80, 110]], np.float32)
    image, instances = np.zeros((120, 120, 3), np.uint8), np.zeros((120, 120), np.uint16)
    for number, (x1, y1, x2, y2) in enumerate(boxes.astype(int), start=1):
        image[y1:y2, x1:x2] = 60 * number
        instances[y1:y2, x1:x2] = number
    return Sample(image, boxes, np.array([1, 2, 3]), instances)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seed", range(25))
def test_boxes_stay_tight_around_their_masks(name: str, seed: int) -> None:
    """After any view, each object's box is its mask's bounding box to two pixels, its label its own."""
    view = CHANGES[name](sample_of_rectangles(), np.random.default_rng(seed))
    assert view.instances is not None
    assert set(np.unique(view.instances)) <= set(range(len(view.labels) + 1))
    for index, (box, label) in enumerate(zip(view.boxes_xyxy, view.labels, strict=True), start=1):
        y, x = np.nonzero(view.instances == index)
        np.testing.assert_allclose(box, [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=2)
        assert abs(int(np.median(view.image[y, x])) - 60 * label) <= 2


def test_the_same_generator_gives_the_same_view() -> None:
    """Training is seeded through and through."""
    views = [augment.random_light(sample_of_rectangles(), np.random.default_rng(3), inversion=0.5) for _ in range(2)]
    np.testing.assert_array_equal(views[0].image, views[1].image)


def test_a_mosaic_shows_parts_of_all_four() -> None:
    """Each of four pictures of one colour fills its own corner, and nothing is left empty."""
    parts = [
        Sample(np.full((50, 60, 3), level, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), None)
        for level in (10, 20, 30, 40)
    ]
    image = augment.mosaic(parts, np.random.default_rng(0)).image
    assert [image[0, 0, 0], image[0, -1, 0], image[-1, 0, 0], image[-1, -1, 0]] == [10, 20, 30, 40]
    assert set(np.unique(image)) == {10, 20, 30, 40}


def test_copy_paste_adds_objects_and_hides_what_they_cover() -> None:
    """Half of the donor's objects come over; a covered object shrinks or goes, and is never labelled unseen."""
    counts = []
    for seed in range(40):
        view = augment.copy_paste(
            sample_of_rectangles(),
            flipped(sample_of_rectangles(), np.random.default_rng(seed)),
            np.random.default_rng(seed),
        )
        assert view.instances is not None
        seen = np.bincount(view.instances.ravel(), minlength=len(view.labels) + 1)[1:]
        assert (seen > 0).all()
        counts.append(len(view.labels))
    assert 3 < max(counts) <= 6
    twice = augment.copy_paste(sample_of_rectangles(), sample_of_rectangles(), np.random.default_rng(0))
    assert len(twice.labels) == 3


def test_channel_gain_moves_channels_apart_and_sometimes_not_at_all() -> None:
    """With probability 0 nothing happens, with 1 the channels of a grey picture differ."""
    sample, rng = sample_of_rectangles(), np.random.default_rng(0)
    assert augment.random_channel_gain(sample, rng, probability=0.0) is sample
    moved = augment.random_channel_gain(sample, rng, probability=1.0).image[80, 50]
    assert len(set(moved.tolist())) == 3
