"""Lines in log odds, and thresholds for a wanted precision or recall, from detections made up to be known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.average_precision import Matches
from model.calibrate import LEAST_EACH, Goal, NotCalibrated, fit, hold_out, straightened, threshold
from model.operating_point import reliability
from service.detections import LogitLine
from service.postprocess.confidence import on_line

IMAGES = 50


def found(scores: NDArray[np.float64], right: NDArray[np.bool_], truths: int | None = None) -> Matches:
    """Spread over IMAGES in turn; truths are those found, and some more if said."""
    order = np.argsort(-scores, kind="stable")
    hits = np.tile(right[order], (10, 1))
    image_index, by_image = np.arange(len(scores)) % IMAGES, np.zeros(IMAGES, np.int64)
    np.add.at(by_image, image_index[right[order]], 1)
    by_image[0] += 0 if truths is None else truths - int(right.sum())
    return Matches(scores[order], image_index, hits, np.ones_like(hits), by_image)


def too_sure(line: LogitLine, count: int = 4000, seed: int = 0) -> Matches:
    """Detections right as often as on_line(score) says."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0.05, 0.99, count)
    return found(scores, random.random(count) < on_line(scores, line))


TRUE_LINE = LogitLine(0.8, -1.2)


def test_the_line_that_made_the_detections_is_found() -> None:
    """Within what 4000 of them can tell."""
    line = fit({"cell": too_sure(TRUE_LINE)}, None).line("cell")
    assert line.temperature == pytest.approx(TRUE_LINE.temperature, rel=0.1)
    assert line.bias == pytest.approx(TRUE_LINE.bias, abs=0.15)


def test_images_not_seen_are_calibrated_too() -> None:
    """D-ECE falls from above 0.15 to below 0.03; nothing but scores has changed."""
    before = {"cell": too_sure(TRUE_LINE)}
    after = hold_out(before, None).by_class
    errors = [reliability(list(rows.values())).error for rows in (before, after)]
    assert errors[0] is not None and errors[0] > 0.15
    assert errors[1] is not None and errors[1] < 0.03
    assert np.array_equal(before["cell"].matched, after["cell"].matched)


def test_a_class_with_few_detections_follows_all_classes_together() -> None:
    """LEAST_EACH right and wrong ones make a line; one less does not."""
    few = found(np.linspace(0.9, 0.1, 2 * LEAST_EACH - 1), np.arange(2 * LEAST_EACH - 1) % 2 == 0)
    fitted = fit({"many": too_sure(TRUE_LINE), "few": few}, None)
    assert set(fitted.by_class) == {"many"}
    assert fitted.line("few") == fitted.common


def test_too_few_detections_in_all_are_refused() -> None:
    """With how many there are."""
    with pytest.raises(NotCalibrated, match="at least 30 right and 30 wrong detections; there are 5 and 5"):
        fit({"few": found(np.linspace(0.9, 0.1, 10), np.arange(10) % 2 == 0)}, None)


def test_scores_that_point_the_wrong_way_are_refused() -> None:
    """A falling line would turn the order round."""
    scores = np.linspace(0.05, 0.95, 400)
    with pytest.raises(NotCalibrated, match="higher score does not mean a better detection"):
        fit({"cell": found(scores, np.random.default_rng(0).random(400) > scores)}, None)


def test_a_class_told_apart_perfectly_still_has_a_line() -> None:
    """Its slope stays finite."""
    scores = np.concatenate([np.linspace(0.6, 0.9, 50), np.linspace(0.1, 0.4, 50)])
    line = fit({"cell": found(scores, scores > 0.5)}, None).line("cell")
    assert np.isfinite([line.temperature, line.bias]).all() and line.temperature > 0


def test_the_least_score_with_the_wanted_precision_is_taken() -> None:
    """Thirty right at 0.9 and ten wrong at 0.4: 0.9 for all right, 0.4 for three in four; never for half of a tie."""
    row = found(np.array([0.9] * 30 + [0.4] * 10), np.array([True] * 30 + [False] * 10))
    assert threshold(row, Goal("precision", 1.0)) == pytest.approx(0.9)
    assert threshold(row, Goal("precision", 0.75)) == pytest.approx(0.4)
    assert threshold(row, Goal("precision", 0.8)) == pytest.approx(0.9)


def test_the_highest_score_with_the_wanted_recall_is_taken() -> None:
    """Of forty truths twenty are found at 0.9 and ten at 0.6; none of the last ten."""
    row = found(np.array([0.9] * 20 + [0.6] * 10), np.ones(30, bool), truths=40)
    assert threshold(row, Goal("recall", 0.5)) == pytest.approx(0.9)
    assert threshold(row, Goal("recall", 0.75)) == pytest.approx(0.6)
    assert threshold(row, Goal("recall", 0.8)) is None


def test_a_goal_out_of_reach_says_what_is_within() -> None:
    """By class."""
    with pytest.raises(NotCalibrated, match=r"recall 0.99 is out of reach for cell \(at most 0\.\d+\)"):
        fit({"cell": found(*_spread(), truths=4000)}, Goal("recall", 0.99))


def test_thresholds_reach_the_wanted_precision_on_images_not_seen() -> None:
    """Within two points, from 4000 detections."""
    held_out = hold_out({"cell": too_sure(TRUE_LINE)}, Goal("precision", 0.8))
    assert held_out.precision["cell"] == pytest.approx(0.8, abs=0.02)
    assert held_out.recall["cell"] is not None and held_out.recall["cell"] > 0.3


def test_thresholds_are_of_calibrated_scores() -> None:
    """At a fit's own threshold its own detections have just the precision wanted."""
    rows = too_sure(TRUE_LINE)
    fitted = fit({"cell": rows}, Goal("precision", 0.8))
    straight = straightened(rows, fitted.line("cell"))
    kept = straight.scores >= fitted.thresholds["cell"]
    assert straight.matched[0][kept].mean() == pytest.approx(0.8, abs=0.005)


def _spread() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rows = too_sure(TRUE_LINE, 400)
    return rows.scores, rows.matched[0]
