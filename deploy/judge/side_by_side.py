"""Two bundles asked the same images in turn, neither with the machine to itself: their answers and their pace."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.app import Service
from service.detections import Answer, DetectOptions
from service.pairing import Pairing, pair
from service.settings import read_settings

_RESAMPLES = 2000


@dataclass(frozen=True)
class Compared:
    """One image: both answers and how they pair."""

    image: Path
    old: Answer
    new: Answer
    pairing: Pairing

    @property
    def slowdown(self) -> float:
        """Work of the new model over that of the old, without time spent waiting for others."""
        return work_s(self.new) / work_s(self.old)


@dataclass(frozen=True)
class Pace:
    """Median of new over old by image, and its 95 % interval over images (percentile bootstrap)."""

    ratio: float
    low: float
    high: float


async def ask_both(old: Path, new: Path, images: Sequence[Path], engine: str) -> list[Compared]:
    """
    Every image to both bundles, which of them first changing from image to image; the first is asked twice, to warm up.

    Raises BundleInvalid if one of them cannot be served.
    """
    async with AsyncExitStack() as stack:
        services = []
        for bundle in (old, new):
            service = Service(read_settings(bundles=str(bundle), engine=engine, default_timeout_ms=600_000))
            await service.load()
            stack.push_async_callback(service.unload)
            services.append(service)
        defaults = services[0].models.get().bundle.manifest.postprocess
        compared = []
        for number, image in enumerate([images[0], *images]):
            answers: dict[int, Answer] = {}
            for side in (0, 1) if number % 2 else (1, 0):
                options = DetectOptions(masks="rle" if services[side].models.get().segments else "none")
                answers[side] = await services[side].predictor.predict(image.read_bytes(), options)
            found, by_class = (answers[0].detections, answers[1].detections), defaults.class_score_thresholds
            pairing = pair(*found, defaults.score_threshold, class_thresholds=by_class)
            compared.append(Compared(image, answers[0], answers[1], pairing))
    return compared[1:]


def work_s(answer: Answer) -> float:
    timings = answer.timings
    return timings.total_s - timings.stages_s.get("queue", 0.0)


def pace(compared: Sequence[Compared]) -> Pace:
    ratios = np.array([each.slowdown for each in compared])
    drawn = np.median(np.random.default_rng(0).choice(ratios, (_RESAMPLES, len(ratios))), axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Pace(float(np.median(ratios)), float(low), float(high))


def outcomes(compared: Sequence[Compared]) -> dict[str, int]:
    """Images by outcome."""
    return dict(Counter(each.pairing.outcome for each in compared))


def disagreements(compared: Sequence[Compared]) -> NDArray[np.float64]:
    """(N,) each image's share of objects without a partner that agrees."""
    return np.array([each.pairing.disagreement for each in compared])
