import math

import torch
from torch.nn import functional

from model.classic.losses import detector_loss, rpn_loss, smooth_l1


def plain_smooth_l1(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def test_smooth_l1_equals_the_formula_and_torchs_own() -> None:
    x = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.99, 1.0, 7.0])
    assert torch.allclose(smooth_l1(x), torch.tensor([plain_smooth_l1(float(v)) for v in x]))
    assert torch.allclose(smooth_l1(x), functional.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"))


def test_the_detectors_loss_is_log_loss_plus_the_boxes_of_objects_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, deltas = torch.randn(9, 4, generator=generator), torch.randn(9, 3, 4, generator=generator)
    labels, targets = torch.tensor([0, 1, 2, 3, 0, 1, 0, 3, 2]), torch.randn(9, 4, generator=generator)
    classifier, boxes = detector_loss(logits, deltas, labels, targets)
    plain_log, plain_boxes = 0.0, 0.0
    for row, label in enumerate(labels.tolist()):
        scores = [math.exp(float(v)) for v in logits[row]]
        plain_log -= math.log(scores[label] / sum(scores)) / 9
        if label >= 1:
            for axis in range(4):
                plain_boxes += plain_smooth_l1(float(deltas[row, label - 1, axis] - targets[row, axis])) / 9
    assert math.isclose(float(classifier), plain_log, rel_tol=1e-5)
    assert math.isclose(float(boxes), plain_boxes, rel_tol=1e-5)


def test_the_rpns_loss_is_over_256_anchors_and_ten_times_the_positives_over_the_cells() -> None:
    generator = torch.Generator().manual_seed(2)
    logits, deltas, targets = (torch.randn(*s, generator=generator) for s in ((6,), (6, 4), (6, 4)))
    labels = torch.tensor([1, 0, 0, 1, 0, 1])
    objectness, boxes = rpn_loss(logits, deltas, labels, targets, batch=256, cells=2400)
    plain = sum(
        -math.log(1 / (1 + math.exp(-float(s)))) if y else -math.log(1 - 1 / (1 + math.exp(-float(s))))
        for s, y in zip(logits, labels, strict=True)
    )
    plain_boxes = sum(
        plain_smooth_l1(float(deltas[row, axis] - targets[row, axis])) for row in (0, 3, 5) for axis in range(4)
    )
    assert math.isclose(float(objectness), plain / 256, rel_tol=1e-5)
    assert math.isclose(float(boxes), 10 * plain_boxes / 2400, rel_tol=1e-5)


def test_a_step_without_objects_has_no_box_loss() -> None:
    labels = torch.zeros(3, dtype=torch.int64)
    assert float(detector_loss(torch.zeros(3, 2), torch.ones(3, 1, 4), labels, torch.zeros(3, 4))[1]) == 0
    assert float(rpn_loss(torch.zeros(3), torch.ones(3, 4), labels, torch.zeros(3, 4), 256, 10)[1]) == 0
