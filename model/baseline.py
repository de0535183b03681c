"""What a bundle saw and said when it was judged, as baseline.json: bins, counts, and how far chance alone carries."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.bundle import Postprocess
from service.detections import Detections
from service.signals import SIGNALS, Observation
from service.sketch import Baseline, psi

BINS = 10
WINDOW_IMAGES = (50, 100, 200, 500, 1000)
ALARMS = 0.01  # of windows, over all signals together, where nothing has changed
_DRAWS = 10_000


def above(found: Detections, postprocess: Postprocess) -> Detections:
    """Those a request gets that names no threshold, without masks."""
    least = np.array([postprocess.least_score(label) for label in found.labels], np.float32)
    kept = np.flatnonzero(found.scores >= least)
    return replace(
        found,
        boxes_xyxy=found.boxes_xyxy[kept].reshape(-1, 4),
        scores=found.scores[kept],
        label_ids=found.label_ids[kept],
        labels=tuple(found.labels[index] for index in kept),
        masks=None,
        keypoints=None,
    )


def make_baseline(observations: Sequence[Observation], labels: tuple[str, ...], seed: int = 0) -> Baseline:
    """observations: at least two images at the bundle's own thresholds."""
    edges = {signal: _edges(signal, observations, labels) for signal in SIGNALS}
    by_image = {signal: _by_image(edges[signal], signal, observations) for signal in SIGNALS}
    return Baseline(
        len(observations),
        labels,
        edges,
        {signal: counts.sum(axis=0) for signal, counts in by_image.items()},
        WINDOW_IMAGES,
        _floors(by_image, seed),
    )


def _edges(signal: str, observations: Sequence[Observation], labels: tuple[str, ...]) -> NDArray[np.float64]:
    """Between classes, else between tenths of the values; a value that fills more than a tenth has a bin of its own."""
    if signal == "class":
        return np.arange(2, len(labels) + 1, dtype=np.float64)
    values = np.concatenate([observation.values[signal] for observation in observations])
    if len(values) == 0:
        return np.zeros(0)
    between = np.round(np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf"), 6)
    once, times = np.unique(between, return_counts=True)
    after = once[times > 1] + 1e-5
    return np.unique(np.concatenate([once - 1e-5 * (times > 1), after]))


def _by_image(edges: NDArray[np.float64], signal: str, observations: Sequence[Observation]) -> NDArray[np.float64]:
    """(images, bins): the objects of one image resemble each other, so that images are what is drawn, not objects."""
    rows = [np.searchsorted(edges, observation.values[signal], "right") for observation in observations]
    return np.array([np.bincount(row, minlength=len(edges) + 1) for row in rows], np.float64)


def _floors(by_image: Mapping[str, NDArray[np.float64]], seed: int) -> dict[str, tuple[float, ...]]:
    """
    PSI between the baseline drawn anew and a window drawn from it, image by image with replacement (Efron 1979): what
    it stays below in all but ALARMS / len(SIGNALS) of draws (Bonferroni), for each of WINDOW_IMAGES.
    """
    random, images = np.random.default_rng(seed), len(by_image[SIGNALS[0]])

    def draws(size: int) -> NDArray[np.float64]:
        """How often each image was drawn: (_DRAWS, images)."""
        return random.multinomial(size, np.full(images, 1 / images), _DRAWS).astype(np.float64)

    anew, windows, quantile = draws(images), [draws(size) for size in WINDOW_IMAGES], 1 - ALARMS / len(SIGNALS)
    return {
        signal: tuple(round(float(np.quantile(psi(anew @ counts, window @ counts), quantile)), 4) for window in windows)
        for signal, counts in by_image.items()
    }
