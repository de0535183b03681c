"""NMS and what surrounds it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from service.detections import NmsOptions
from service.postprocess.boxes import pick

HARD = NmsOptions(0.05, 0.5, "hard", False, 1000, None)


def some_boxes(seed: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 80, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], 1).astype(np.float32)
    return boxes, rng.uniform(0, 1, count).astype(np.float32), rng.integers(1, 4, count)


@pytest.mark.parametrize("seed", range(100))
def test_hard_nms_is_torchvisions(seed: int) -> None:
    """Class-wise NMS keeps exactly the boxes torchvision keeps, in its order."""
    boxes, scores, labels = some_boxes(seed, 1 + seed * 3)
    enough = scores >= HARD.score_threshold
    kept = batched_nms(*(torch.from_numpy(a[enough]) for a in (boxes, scores, labels)), iou_threshold=0.5).numpy()
    picked = pick(boxes, scores, labels, HARD)
    np.testing.assert_array_equal(picked.boxes_xyxy, boxes[enough][kept])
    np.testing.assert_array_equal(picked.label_ids, labels[enough][kept])


def test_class_agnostic_nms_works_across_classes() -> None:
    """Two classes on one box: both by default, one when classes do not count."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    scores, labels = np.array([0.9, 0.8], np.float32), np.array([1, 2])
    assert len(pick(boxes, scores, labels, HARD).scores) == 2
    agnostic = NmsOptions(0.05, 0.5, "hard", True, 10, None)
    assert pick(boxes, scores, labels, agnostic).label_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("method", "expected"), [("soft_linear", 0.8 * (1 - 1 / 3)), ("soft_gaussian", 0.8 * np.exp(-2 / 9))]
)
def test_soft_nms_follows_the_paper(method: str, expected: float) -> None:
    """Boxes overlapping by one third: Bodla 2017, equations 2 and 3 with sigma 0.5."""
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    options = NmsOptions(0.05, 0.3, method, False, 10, None)  # type: ignore[arg-type]
    picked = pick(boxes, np.array([0.9, 0.8], np.float32), np.array([1, 1]), options)
    np.testing.assert_allclose(picked.scores, [0.9, expected], rtol=1e-5)


def test_thresholds_classes_and_top_k_are_obeyed() -> None:
    """Only what was asked for, best first, no more than asked for."""
    boxes, scores, labels = some_boxes(7, 200)
    picked = pick(boxes, scores, labels, NmsOptions(0.4, 0.9, "hard", False, 5, frozenset({2})))
    assert len(picked.scores) == 5 and set(picked.label_ids) == {2}
    assert picked.scores.min() >= 0.4 and (np.diff(picked.scores) <= 0).all()


def test_nothing_gives_nothing() -> None:
    """Padding (score 0) is never a detection, even at threshold 0."""
    picked = pick(
        np.zeros((5, 4), np.float32),
        np.zeros(5, np.float32),
        np.zeros(5, np.int64),
        NmsOptions(0.0, 0.5, "hard", False, 9, None),
    )
    assert picked.boxes_xyxy.shape == (0, 4)
