"""Two bundles on the same images: per-class differences in AP with a paired bootstrap interval over images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.average_precision import Matches
from model.evaluate import Evaluation

RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Difference:
    """AP of one class or of all, here and there, and the 95 % interval of their difference (here less there)."""

    kind: str
    label: str  # "all": the mean over classes
    here: float
    there: float
    low: float
    high: float

    @property
    def change(self) -> float:
        return self.here - self.there


def compare(here: Evaluation, there: Evaluation, *, seed: int = 0, resamples: int = RESAMPLES) -> list[Difference]:
    """As `differences`, for every kind that both were judged on. Both must have been judged on the same data."""
    images, labels = len(here.data.images), here.data.labels
    found: list[Difference] = []
    for kind in (kind for kind in here.by_class if kind in there.by_class):
        pairs = here.by_class[kind], there.by_class[kind]
        found += differences(kind, labels, *pairs, images, seed=seed, resamples=resamples)
    return found


def differences(
    kind: str,
    labels: Sequence[str],
    here: Sequence[Matches],
    there: Sequence[Matches],
    images: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Difference]:
    """
    All classes together first, then each that can be judged; here and there are of labels, in order.

    Images are drawn with replacement, the same draw for both (paired percentile bootstrap, Efron & Tibshirani 1993,
    chapter 13): what makes an image hard cancels out.
    """
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples).astype(np.float64)
    pairs, once = list(zip(here, there, strict=True)), np.ones((1, images))
    points = np.array([[_by_draw(side, once)[0] for side in pair] for pair in pairs])  # (classes, 2)
    drawn = np.array([[_by_draw(side, draws) for side in pair] for pair in pairs])  # (classes, 2, resamples)
    judged = ~np.isnan(points[:, 0])
    found = [_difference(kind, "all", points[judged].mean(0), np.nanmean(drawn[judged], axis=0))]
    return found + [
        _difference(kind, labels[int(index)], points[index], drawn[index]) for index in np.flatnonzero(judged)
    ]


def _by_draw(matches: Matches, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([matches.average_precision(weights) for weights in draws])


def _difference(kind: str, label: str, point: NDArray[np.float64], drawn: NDArray[np.float64]) -> Difference:
    """point (2,), drawn (2, resamples): here and there."""
    low, high = np.nanpercentile(drawn[0] - drawn[1], _PERCENTILES)
    return Difference(kind, label, float(point[0]), float(point[1]), float(low), float(high))
