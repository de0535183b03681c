"""Recall counts objects, not proposals."""

import numpy as np
import pytest

from model.classic.proposals.recall import COUNTS, IOU_THRESHOLDS, measure_recall

TRUTHS = [np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32), np.zeros((0, 4), np.float32)]
# The third covers the first object exactly, the first covers 60 % of it; the second object is met at IoU 0.5.
PROPOSALS = [np.array([[0, 0, 10, 6], [50, 50, 60, 60], [0, 0, 10, 10], [20, 0, 30, 5]], np.float32), TRUTHS[1]]


def test_recall_grows_with_proposals_and_falls_with_iou() -> None:
    """By hand: one proposal finds the first at 0.6, three find it exactly, four find both at 0.5."""
    found = measure_recall("by hand", TRUTHS, PROPOSALS)
    assert found.against_count(0.5)[[COUNTS.index(n) for n in (1, 3, 10, 2000)]].tolist() == [0.5, 0.5, 1, 1]
    assert found.against_count(0.7)[[COUNTS.index(n) for n in (1, 3, 10)]].tolist() == [0, 0.5, 0.5]
    curve = found.against_iou(10)
    assert curve[0] == 1 and curve[1] == 0.5 and curve[-1] == 0.5 and len(curve) == len(IOU_THRESHOLDS)
    assert found.proposals_per_image == 2


def test_average_recall_is_twice_the_area_from_a_half_to_one() -> None:
    """Against the trapezoid rule over the curve itself."""
    rng = np.random.default_rng(0)
    truths = [np.sort(rng.uniform(0, 50, (40, 2, 2)), axis=1).reshape(40, 4).astype(np.float32)]
    proposals = [truths[0] + rng.normal(0, 2, (40, 4)).astype(np.float32)]
    found = measure_recall("noise", truths, proposals)
    assert found.average == pytest.approx(2 * np.trapezoid(found.against_iou(2000), IOU_THRESHOLDS), abs=0.02)


def test_recall_without_objects_is_refused() -> None:
    """Undefined, and said so."""
    with pytest.raises(ValueError, match="no object"):
        measure_recall("none", TRUTHS[1:], PROPOSALS[1:])
