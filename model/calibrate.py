"""
Scores that mean what they say: a line in log odds fitted to labelled detections, and thresholds for a wanted precision
or recall.

Logistic calibration over the score (Platt 1999; for detectors Küppers et al. 2020, Multivariate Confidence Calibration
for Object Detection). Temperature alone (Guo et al. 2017) cannot move the score at which half of what is found is
right, and for detectors that score is seldom 0.5.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.average_precision import Matches
from service.detections import LogitLine
from service.postprocess.confidence import logit, on_line

FOLDS = 5
LEAST_EACH = 30  # right and wrong detections it takes to fit a line
LEAST_KEPT = 20  # detections above a threshold, for its precision to mean something
_MOST_STEPS, _CLOSE = 100, 1e-10


class NotCalibrated(ValueError):
    """These detections do not allow what was asked for; the message says why."""


@dataclass(frozen=True)
class Goal:
    """What the detections of every class are to reach at their threshold."""

    figure: Literal["precision", "recall"]
    value: float  # (0, 1]


@dataclass(frozen=True)
class Fit:
    """What goes into a manifest: the common line, those of classes with enough detections, thresholds by class."""

    common: LogitLine
    by_class: Mapping[str, LogitLine]
    thresholds: Mapping[str, float]  # of calibrated scores; a class that lacks the data for one is missing

    def line(self, label: str) -> LogitLine:
        return self.by_class.get(label, self.common)


@dataclass(frozen=True)
class HeldOut:
    """Every image calibrated by a fit that has not seen it; precision and recall at thresholds chosen likewise."""

    by_class: dict[str, Matches]
    precision: dict[str, float | None]
    recall: dict[str, float | None]


def fit(by_class: Mapping[str, Matches], goal: Goal | None) -> Fit:
    """by_class: uncalibrated detections by label. Raises NotCalibrated if they are too few, or goal is out of reach."""
    lines = _lines(by_class)
    straight = {label: straightened(found, lines.line(label)) for label, found in by_class.items()}
    chosen = _thresholds(straight, goal)
    if goal and (missed := [label for label, score in chosen.items() if score is None]):
        reached = ", ".join(f"{label} (at most {_best(straight[label], goal):.3f})" for label in missed)
        raise NotCalibrated(f"{goal.figure} {goal.value:g} is out of reach for {reached}")
    return replace(lines, thresholds={label: score for label, score in chosen.items() if score is not None})


def _lines(by_class: Mapping[str, Matches]) -> Fit:
    common = _line(list(by_class.values()))
    if common is None:
        raise NotCalibrated(
            f"calibration needs at least {LEAST_EACH} right and {LEAST_EACH} wrong detections; "
            f"there are {' and '.join(map(str, _right_and_wrong(by_class.values())))}"
        )
    lines = {label: _line([found]) for label, found in by_class.items()}
    return Fit(common, {label: line for label, line in lines.items() if line is not None}, {})


def straightened(found: Matches, line: LogitLine) -> Matches:
    """found with calibrated scores; their order stays, for a line rises."""
    return replace(found, scores=on_line(found.scores, line))


def _right_and_wrong(parts: Iterable[Matches]) -> tuple[int, int]:
    rows = [found.matched[0][found.counted[0]] for found in parts]
    right = sum(int(row.sum()) for row in rows)
    return right, sum(len(row) for row in rows) - right


def _line(parts: list[Matches]) -> LogitLine | None:
    """
    The line that makes what was seen most likely, by Newton's method; None for too few detections of either kind.

    Targets are Platt's, a little inside 0 and 1, so that a class told apart perfectly has a line too. Raises
    NotCalibrated if a higher score does not mean a better detection.
    """
    odds = np.concatenate([logit(found.scores[found.counted[0]]) for found in parts])
    right = np.concatenate([found.matched[0][found.counted[0]] for found in parts])
    hits, misses = int(right.sum()), int((~right).sum())
    if min(hits, misses) < LEAST_EACH:
        return None
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    inputs, weights = np.column_stack([odds, np.ones_like(odds)]), np.array([1.0, 0.0])
    for _ in range(_MOST_STEPS):
        expected = 1 / (1 + np.exp(-inputs @ weights))
        curvature = (inputs * (expected * (1 - expected))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), inputs.T @ (targets - expected))
        weights = weights + step
        if np.abs(step).max() < _CLOSE:
            break
    slope, bias = (float(value) for value in weights)
    if slope <= 0:
        raise NotCalibrated("a higher score does not mean a better detection here: are these labels the model's?")
    return LogitLine(1 / slope, bias)


def _thresholds(by_class: Mapping[str, Matches], goal: Goal | None) -> dict[str, float | None]:
    """By label, of calibrated detections; None out of reach. A class with fewer truths than LEAST_KEPT is left out."""
    judged = {label: found for label, found in by_class.items() if found.truths.sum() >= LEAST_KEPT}
    return {label: threshold(found, goal) for label, found in judged.items()} if goal else {}


def threshold(found: Matches, goal: Goal) -> float | None:
    """
    The least score at which precision is still goal's, or the highest at which recall is; None if it never is.

    Precision counts from LEAST_KEPT detections on.
    """
    (precision, recall), scores = _curves(found), found.scores[found.counted[0]]
    if goal.figure == "precision":
        is_last_of_its_score = np.append(np.diff(scores) < 0, True)[: len(scores)]
        reached = np.flatnonzero((precision >= goal.value) & is_last_of_its_score)
        reached = reached[reached >= LEAST_KEPT - 1][::-1]
    else:
        reached = np.flatnonzero(recall >= goal.value)
    return float(scores[reached[0]]) if len(reached) else None


def _curves(found: Matches) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall of the best 1, 2, ... counted detections."""
    right = np.cumsum(found.matched[0][found.counted[0]])
    return right / np.arange(1, len(right) + 1), right / max(int(found.truths.sum()), 1)


def _best(found: Matches, goal: Goal) -> float:
    precision, recall = _curves(found)
    return float((precision[LEAST_KEPT - 1 :] if goal.figure == "precision" else recall).max(initial=0))


def hold_out(by_class: Mapping[str, Matches], goal: Goal | None, seed: int = 0) -> HeldOut:
    """
    Cross-validation over images in FOLDS parts: what calibration and thresholds are worth on images they have not seen.

    Where a part's fit finds goal out of reach, it reports none of that class. Raises NotCalibrated for too few images.
    """
    images = len(next(iter(by_class.values())).truths)
    fold = np.random.default_rng(seed).permutation(images) % FOLDS
    scores = {label: found.scores.copy() for label, found in by_class.items()}
    kept = {label: np.zeros(len(found.scores), bool) for label, found in by_class.items()}
    for part in range(FOLDS):
        seen = {label: _of_images(found, fold != part) for label, found in by_class.items()}
        lines = _lines(seen)
        chosen = _thresholds({label: straightened(found, lines.line(label)) for label, found in seen.items()}, goal)
        for label, found in by_class.items():
            held, least = fold[found.image_index] == part, chosen.get(label)
            scores[label][held] = on_line(found.scores[held], lines.line(label))
            kept[label][held] = scores[label][held] >= (np.inf if least is None else least)
    counted = {label: kept[label] & found.counted[0] for label, found in by_class.items()}
    right = {label: int((counted[label] & found.matched[0]).sum()) for label, found in by_class.items()}
    return HeldOut(
        {label: replace(found, scores=scores[label]) for label, found in by_class.items()},
        {label: _share(right[label], int(counted[label].sum())) for label in by_class},
        {label: _share(right[label], int(found.truths.sum())) for label, found in by_class.items()},
    )


def _of_images(found: Matches, chosen: NDArray[np.bool_]) -> Matches:
    """The part of found that belongs to the images chosen (N,); the others keep their place, without truths."""
    of = chosen[found.image_index]
    parts = found.matched[:, of], found.counted[:, of], np.where(chosen, found.truths, 0)
    return Matches(found.scores[of], found.image_index[of], *parts)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
