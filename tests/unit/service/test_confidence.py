"""Calibrated scores: what a line does to them, and what thresholds, NMS and a bundle make of that."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.detections import Calibration, LogitLine, NmsOptions
from service.postprocess.boxes import pick
from service.postprocess.confidence import calibrated, on_line

HALF = LogitLine(1.0, float(np.log(1 / 3)))  # odds become a third: 0.75 is 0.5
PLAIN = NmsOptions(0.5, 0.5, "hard", False, 10, None)
APART = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
scores_0_to_1 = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30)


def test_a_line_moves_the_log_odds() -> None:
    """Odds of 3 become 1 by a bias of log 1/3; a temperature of 2 takes their root."""
    assert on_line([0.75], HALF) == pytest.approx([0.5])
    assert on_line([0.9], LogitLine(2.0, 0.0)) == pytest.approx([0.75])


@given(scores_0_to_1, st.floats(0.1, 10), st.floats(-5, 5))
def test_order_within_a_class_is_kept_and_padding_stays(scores: list[float], temperature: float, bias: float) -> None:
    """Whatever the line, what scored more never scores less, all in [0, 1]; 0 stays 0."""
    before = np.sort(np.array(scores, np.float32))
    after = calibrated(before, np.ones(len(before), np.int64), Calibration(LogitLine(temperature, bias)))
    assert np.all(np.diff(after) >= 0) and after.min() >= 0 and after.max() <= 1
    assert np.all(after[before == 0] == 0)


def test_a_class_with_a_line_of_its_own_follows_that() -> None:
    """The others follow the common one."""
    lines = Calibration(HALF, {2: LogitLine(1.0, 0.0)})
    after = calibrated(np.array([0.75, 0.75], np.float32), np.array([1, 2]), lines)
    assert after == pytest.approx([0.5, 0.75], abs=1e-6)


def test_thresholds_meet_calibrated_scores() -> None:
    """0.7 is 0.44 calibrated and falls below 0.5; 0.9 is 0.75; the order between classes is that of the new scores."""
    scores, labels = np.array([0.7, 0.9, 0.8], np.float32), np.array([1, 1, 2])
    lines = Calibration(HALF, {2: LogitLine(1.0, 2.0)})
    picked = pick(APART, scores, labels, replace(PLAIN, calibration=lines))
    assert picked.label_ids.tolist() == [2, 1]
    assert picked.scores == pytest.approx([0.967, 0.75], abs=1e-3)
    assert len(pick(APART, scores, labels, PLAIN).scores) == 3


def test_nms_keeps_the_same_boxes_even_where_scores_become_equal() -> None:
    """A bias that brings all to 1 in float32 does not change which of two overlapping boxes is the better one."""
    boxes = np.array([[0, 0, 10, 10], [0, 1, 10, 11]], np.float32)
    scores, labels = np.array([0.9, 0.95], np.float32), np.array([1, 1])
    picked = pick(boxes, scores, labels, replace(PLAIN, calibration=Calibration(LogitLine(0.1, 30.0))))
    assert picked.scores.tolist() == [1.0]
    assert picked.boxes_xyxy.tolist() == [[0, 1, 10, 11]]
