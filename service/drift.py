"""
Does the world still look as it did when the model was judged? Without labels: by what it is shown and what it answers.

Some of the answered images, a few a second, are looked at again on a thread of their own and counted into windows; each
window's distributions are held against the bundle's baseline.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.detections import Answer, DetectOptions, ModelId
from service.errors import ServiceError
from service.images import Limits, decode
from service.signals import Observation, observe
from service.sketch import Baseline, Counts, kl, psi, total
from service.sources import OTHER_SOURCES, current_source

BLOCK_IMAGES, BLOCKS = 50, 10  # a window is the last 50 to 500 images, judged anew every 50
_DEFAULTS = DetectOptions()


@dataclass(frozen=True)
class Reading:
    """One signal of one window against its baseline. psi above threshold_psi: drifted."""

    psi: float
    kl: float
    threshold_psi: float


class DriftObserver(Protocol):
    """Told of each window that was judged. source is None for all images together."""

    def drift_read(self, model: str, source: str | None, images: int, readings: Mapping[str, Reading]) -> None: ...


class Window:
    """The last images of one model, or of one source of them, as counts."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self._blocks: deque[Counts] = deque(maxlen=BLOCKS)
        self._filling, self._in_it = baseline.empty(), 0
        self.has_drifted = False  # when it was judged last

    def add(self, observation: Observation) -> bool:
        """Whether that filled a block, so that the window is worth judging."""
        self.baseline.add(self._filling, observation)
        self._in_it += 1
        if self._in_it < BLOCK_IMAGES:
            return False
        self._blocks.append(self._filling)
        self._filling, self._in_it = self.baseline.empty(), 0
        return True

    @property
    def images(self) -> int:
        """In whole blocks: those that are judged."""
        return len(self._blocks) * BLOCK_IMAGES

    @property
    def counts(self) -> Counts:
        return total(self._blocks) if self._blocks else self.baseline.empty()

    def readings(self) -> dict[str, Reading]:
        """By signal. Needs a whole block."""
        expected, found, images = self.baseline.counts, self.counts, self.images
        return {
            signal: Reading(
                float(psi(expected[signal], found[signal])),
                float(kl(expected[signal], found[signal])),
                self.baseline.threshold_psi(signal, images),
            )
            for signal in expected
        }


@dataclass
class _Watched:
    """The windows of one model: of all images under None, and of each source."""

    model: ModelId
    baseline: Baseline
    windows: dict[str | None, Window]


class Drift:
    """Watches the models it was given baselines of. `exchanged` takes microseconds; what it starts runs elsewhere."""

    def __init__(
        self,
        limits: Limits,
        observer: DriftObserver,
        images_per_s: float,
        most_sources: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """images_per_s: looked at, at most. most_sources: told apart; those after them are one."""
        self._limits, self._observer, self._most_sources, self._clock = limits, observer, most_sources, clock
        self._period_s, self._next = 1 / images_per_s, 0.0
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()  # around the windows: counted by our thread, read by reports
        self._thread, self._busy = ThreadPoolExecutor(1, thread_name_prefix="drift"), threading.Semaphore(1)

    def watch(self, model: ModelId, baseline: Baseline) -> None:
        """From now on; of several versions under one name, the one that was loaded last."""
        with self._lock:
            self._watched[model.name] = _Watched(model, baseline, {None: Window(baseline)})

    def exchanged(
        self, picture: bytes | NDArray[np.uint8], options: DetectOptions, score_threshold: float, answer: Answer
    ) -> None:
        """Answers to other options than the model's own would look like drift, and are left out."""
        watched, now = self._watched.get(answer.model.name), self._clock()
        if watched is None or watched.model != answer.model or now < self._next:
            return
        if replace(options, masks="none") != _DEFAULTS or not self._busy.acquire(blocking=False):
            return
        self._next = now + self._period_s
        try:
            self._thread.submit(self._look, watched, picture, answer, current_source.get())
        except RuntimeError:  # closed
            self._busy.release()

    def _look(self, watched: _Watched, picture: bytes | NDArray[np.uint8], answer: Answer, source: str | None) -> None:
        try:
            with suppress(ServiceError):  # no memory to decode it in just now
                image = picture if isinstance(picture, np.ndarray) else decode(picture, self._limits)
                self.observed(watched.model.name, observe(image, answer.detections), source)
        finally:
            self._busy.release()

    def observed(self, model: str, observation: Observation, source: str | None = None) -> None:
        """Count one image of a watched model."""
        with self._lock:
            watched = self._watched[model]
            for key in dict.fromkeys((self._bounded(watched, source), None)):
                window = watched.windows.setdefault(key, Window(watched.baseline))
                if window.add(observation):
                    readings = window.readings()
                    window.has_drifted = any(reading.psi > reading.threshold_psi for reading in readings.values())
                    self._observer.drift_read(model, key, window.images, readings)

    def has_drifted(self, model: str, source: str | None = None) -> bool:
        """Whether the last judged window of a model, of all its images or of this source's, was away from normal."""
        watched = self._watched.get(model)
        if watched is None:
            return False
        return any((window := watched.windows.get(key)) and window.has_drifted for key in {None, source})

    def _bounded(self, watched: _Watched, source: str | None) -> str | None:
        if source is None or self._most_sources == 0 or source in watched.windows:
            return source if self._most_sources else None
        return source if len(watched.windows) - 1 < self._most_sources else OTHER_SOURCES

    def report(self) -> dict[str, Any]:
        """Ready for JSON: by model and source ('': all) its images, and of each signal both distributions."""
        with self._lock:
            return {
                name: {source or "": _report(window) for source, window in watched.windows.items()}
                for name, watched in self._watched.items()
            }

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


def _report(window: Window) -> dict[str, Any]:
    readings, counts = (window.readings() if window.images else {}), window.counts
    return {
        "images": window.images,
        "signals": {
            signal: {
                "psi": round(reading.psi, 4),
                "kl": round(reading.kl, 4),
                "threshold_psi": round(reading.threshold_psi, 4),
                "drifted": reading.psi > reading.threshold_psi,
                "edges": window.baseline.edges[signal].tolist(),
                "baseline": window.baseline.counts[signal].astype(int).tolist(),
                "window": counts[signal].astype(int).tolist(),
            }
            for signal, reading in readings.items()
        },
    }
