"""Right, false, confused, missed; and how far confidence may be trusted."""

import numpy as np
import pytest

from model.average_precision import Matches
from model.operating_point import ImageMatch, confusion, match_image, reliability

TRUTH = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)


def matched(boxes: list[list[float]], scores: list[float], classes: list[int], crowd: list[list[float]]) -> ImageMatch:
    return match_image(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
        TRUTH,
        np.array([0, 1, 1]),
        np.array(crowd, np.float32).reshape(-1, 4),
    )


MIXED = matched(
    boxes=[[0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 10], [70, 0, 80, 10], [90, 0, 99, 10]],
    scores=[0.6, 0.9, 0.8, 0.7, 0.5],
    classes=[0, 0, 0, 1, 1],
    crowd=[[88, 0, 120, 40]],
)


def test_each_truth_serves_once_and_the_best_score_chooses_first() -> None:
    """The second box on the first truth is a false alarm; one on a crowd region is neither right nor wrong."""
    assert MIXED.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert MIXED.pair.tolist() == [0, 1, -1, -1, -2]
    assert MIXED.right.tolist() == [True, False, False, False, False]
    assert MIXED.missed.tolist() == [False, False, True]
    assert MIXED.f1 == pytest.approx(2 * 1 / (4 + 3))


def test_confusions_are_counted_by_truth_and_by_what_was_found() -> None:
    """Class 1 once taken for class 0 and once missed; a false alarm of each class."""
    assert confusion([MIXED], 2).tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 0]]


def test_finding_nothing_is_right_only_where_nothing_is() -> None:
    """F1 0 with truths, 1 without."""
    assert matched([], [], [], []).f1 == 0
    empty = np.zeros((0, 4), np.float32)
    none = np.zeros(0, np.int64)
    assert match_image(empty, none.astype(np.float32), none, empty, none, empty).f1 == 1


def calibrated(scores: list[float], right: list[bool]) -> Matches:
    matched = np.tile(np.array(right, bool), (10, 1))
    return Matches(np.array(scores), np.zeros(len(scores), int), matched, np.ones_like(matched), np.array([5]))


def test_the_calibration_error_is_the_weighted_gap() -> None:
    """Ten at 0.92 of which five are right, ten at 0.12 of which none is: (0.42 + 0.12) / 2."""
    found = reliability([calibrated([0.92] * 10 + [0.12] * 10, [True, False] * 5 + [False] * 10)])
    assert found.error == pytest.approx(0.27)
    assert found.count[[2, 18]].tolist() == [10, 10]
    assert found.precision[18] == pytest.approx(0.5)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    """Half of those at 0.5 are right; a score of exactly 1 has its bin too."""
    assert reliability([calibrated([1.0, 0.5, 0.5], [True, True, False])]).error == 0
    assert reliability([calibrated([], [])]).error is None
