"""Regions belong to the object they overlap most; batches are 32 of objects and 96 of background."""

import numpy as np
import pytest

from model.classic.matched_regions import RegionSampler, match_regions
from model.datasets import Sample

OBJECTS = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], np.float32)
SAMPLE = Sample(np.zeros((50, 50, 3), np.uint8), OBJECTS, np.array([2, 1]), None)
# IoU with the second object: 0.8, 0.5, 0.2, 0.05; with the first 0.6.
PROPOSALS = np.array(
    [[20, 20, 40, 36], [20, 20, 40, 30], [20, 20, 40, 24], [20, 20, 40, 21], [0, 0, 10, 6]], np.float32
)


def test_regions_take_the_class_of_the_object_they_overlap_most() -> None:
    """Objects come first and match themselves; from IoU 0.5 on a region is an object."""
    found = match_regions(SAMPLE, PROPOSALS, 3)
    assert found.classes().tolist() == [2, 1, 1, 1, 0, 0, 2]
    assert np.allclose(found.best_iou, [1, 1, 0.8, 0.5, 0.2, 0.05, 0.6])
    assert np.allclose(found.class_iou[:, 2], 0) and found.nearest[2, 0] == 1 and found.nearest[6, 1] == 0


@pytest.mark.parametrize(("background_iou", "background"), [((0.0, 0.5), {4, 5}), ((0.1, 0.5), {4})])
def test_a_batch_is_32_of_objects_and_96_of_background(
    background_iou: tuple[float, float], background: set[int]
) -> None:
    """Over all images; SPPnet's background starts at IoU 0.1."""
    rows = [match_regions(SAMPLE, PROPOSALS, 3)] * 2
    where, classes = RegionSampler(rows, background_iou, seed=0).batch()
    assert where.shape == (128, 2) and (classes > 0).sum() == 32 and (classes[:32] > 0).all()
    assert set(where[32:, 1]) == background and set(where[:, 0]) == {0, 1}


def test_images_without_any_object_cannot_be_learned_from() -> None:
    """And the message counts."""
    empty = Sample(SAMPLE.image, OBJECTS[:0], np.zeros(0, np.int64), None)
    with pytest.raises(ValueError, match="0 regions of objects and 5 of background"):
        RegionSampler([match_regions(empty, PROPOSALS, 3)], (0.0, 0.5), seed=0)
