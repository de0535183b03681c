"""Whatever is done to a picture is done to its boxes and masks."""

from collections.abc import Callable

import numpy as np
import pytest

from model import augment
from model.datasets import Sample

Change = Callable[[Sample, np.random.Generator], Sample]
CHANGES: dict[str, Change] = {
    "crop": lambda sample, rng: augment.random_crop(sample, rng, 96, (0.8, 1.6)),
    "resize": lambda sample, rng: augment.random_resize(sample, rng, (96, 128), 0.2),
    "flip and turn": lambda sample, rng: augment.random_flip_and_turn(sample, rng, quarter_turns=True),
}


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
