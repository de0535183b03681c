"""NMS and what surrounds it."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms, box_iou

from service.detections import NmsMethod, NmsOptions
from service.postprocess.boxes import pick

HARD = NmsOptions(0.05, 0.5, "hard", False, 1000, None)


def some_boxes(seed: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 80, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], 1).astype(np.float32)
    return boxes, rng.uniform(0, 1, count).astype(np.float32), rng.integers(1, 4, count)


@pytest.mark.parametrize("hundred", range(10))
def test_hard_nms_is_torchvisions(hundred: int) -> None:
    """Class-wise NMS keeps exactly the boxes torchvision keeps, in its order: 1000 cases in all."""
    for seed in range(hundred * 100, hundred * 100 + 100):
        boxes, scores, labels = some_boxes(seed, 1 + seed % 150)
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
    ("method", "sigma", "expected"),
    [
        ("soft_linear", 0.5, 0.8 * (1 - 1 / 3)),
        ("soft_gaussian", 0.5, 0.8 * np.exp(-2 / 9)),
        ("soft_gaussian", 2.0, 0.8 * np.exp(-1 / 18)),
    ],
)
def test_soft_nms_follows_the_paper(method: str, sigma: float, expected: float) -> None:
    """Boxes overlapping by one third: Bodla 2017, equations 2 and 3; 0.5 is the paper's sigma."""
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    options = NmsOptions(0.05, 0.3, method, False, 10, None, soft_nms_sigma=sigma)  # type: ignore[arg-type]
    picked = pick(boxes, np.array([0.9, 0.8], np.float32), np.array([1, 1]), options)
    np.testing.assert_allclose(picked.scores, [0.9, expected], rtol=1e-5)


def test_an_overlap_of_just_the_threshold_decays_but_does_not_suppress() -> None:
    """Equation 2 has iou >= N_t where torchvision's hard NMS has iou > N_t; boxes overlapping by exactly one half."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    scores, labels = np.array([0.9, 0.8], np.float32), np.array([1, 1])
    soft = pick(boxes, scores, labels, NmsOptions(0.05, 0.5, "soft_linear", False, 10, None))
    np.testing.assert_allclose(soft.scores, [0.9, 0.4], rtol=1e-6)
    assert len(pick(boxes, scores, labels, HARD).scores) == 2


def test_the_order_of_soft_nms_is_worked_out_anew_after_each_box() -> None:
    """By hand: A (0.9) lowers B (0.8) below C (0.5), so C goes next and B is lowered by it as well."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 4, 10, 12]], np.float32)  # IoU AB 0.8, AC 6/12, BC 4/12
    scores, labels = np.array([0.9, 0.8, 0.5], np.float32), np.array([1, 1, 1])
    picked = pick(boxes, scores, labels, NmsOptions(0.0, 0.6, "soft_linear", False, 10, None))
    np.testing.assert_allclose(picked.scores, [0.9, 0.5, 0.8 * (1 - 0.8)], rtol=1e-5)
    gaussian = pick(boxes, scores, labels, NmsOptions(0.0, 0.6, "soft_gaussian", False, 10, None))
    c = 0.5 * np.exp(-(0.5**2) / 0.5)
    b = 0.8 * np.exp(-(0.8**2) / 0.5) * np.exp(-((1 / 3) ** 2) / 0.5)
    np.testing.assert_allclose(gaussian.scores, [0.9, c, b], rtol=1e-5)


def bodla(boxes: NDArray[np.float32], scores: NDArray[np.float32], options: NmsOptions) -> list[tuple[float, int]]:
    """The paper's figure 2 word by word, one class, Python floats, torchvision's IoU: (score, index) best first."""
    iou = box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).double().tolist()
    left = {index: float(score) for index, score in enumerate(scores) if score >= options.score_threshold}
    found = []
    while left:
        best = max(left, key=lambda index: left[index])
        found.append((left.pop(best), best))
        for index in left:
            if options.method == "soft_gaussian":
                left[index] *= math.exp(-(iou[best][index] ** 2) / options.soft_nms_sigma)
            elif iou[best][index] >= options.iou_threshold:
                left[index] *= 1 - iou[best][index]
    return sorted(((s, i) for s, i in found if s >= options.score_threshold), reverse=True)


@pytest.mark.parametrize("method", ["soft_linear", "soft_gaussian"])
def test_soft_nms_is_the_papers_pseudocode(method: str) -> None:
    """Two hundred crowds of up to sixty boxes, against an implementation that shares no line with ours."""
    for seed in range(200):
        boxes, scores, labels = some_boxes(seed, 1 + seed % 60)
        options = NmsOptions(0.1, 0.3, method, True, 1000, None, soft_nms_sigma=0.2 + seed / 100)  # type: ignore[arg-type]
        expected = bodla(boxes, scores, options)
        picked = pick(boxes, scores, labels, options)
        np.testing.assert_allclose(picked.scores, [score for score, _ in expected], rtol=2e-5)
        np.testing.assert_array_equal(picked.boxes_xyxy, boxes[[index for _, index in expected]])


def test_a_class_may_have_a_threshold_of_its_own() -> None:
    """Higher or lower than the common one, before NMS and after Soft-NMS has lowered scores."""
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], np.float32)
    scores, labels = np.array([0.6, 0.6, 0.2], np.float32), np.array([1, 2, 3])
    for method in ("hard", "soft_gaussian"):
        options = NmsOptions(0.5, 0.5, method, False, 9, None, label_score_thresholds={2: 0.7, 3: 0.1})  # type: ignore[arg-type]
        assert pick(boxes, scores, labels, options).label_ids.tolist() == [1, 3]
    twice = NmsOptions(0.1, 0.3, "soft_linear", True, 9, None, label_score_thresholds={2: 0.4})
    stacked = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)  # the second falls to 0.3
    assert pick(stacked, np.array([0.9, 0.6], np.float32), np.array([1, 2]), twice).label_ids.tolist() == [1]


@pytest.mark.parametrize("method", ["hard", "soft_linear", "soft_gaussian"])
def test_a_score_of_just_the_threshold_is_reported(method: NmsMethod) -> None:
    """Also where the threshold, as half of those with two digits, is a little less in single precision: 0.7."""
    boxes, labels = np.array([[0, 0, 9, 9], [20, 0, 29, 9]], np.float32), np.array([1, 1])
    picked = pick(boxes, np.array([0.9, 0.7], np.float32), labels, NmsOptions(0.7, 0.5, method, False, 9, None))
    assert len(picked.scores) == 2


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
