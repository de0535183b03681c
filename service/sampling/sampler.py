"""
Exchanges chosen as they are answered, and written by a thread of their own.

Clients never wait for it: what is chosen goes into a queue bounded in bytes, or is dropped and counted.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from service.detections import Answer, Detections, DetectOptions
from service.errors import ServiceError
from service.images import Limits, decode
from service.pairing import Pairing
from service.sampling.choosing import Budget, Plan, Reason, reasons_of
from service.sampling.redaction import Note, pack
from service.sampling.store import SampleStore, TooLarge
from service.sources import current_source
from service.tracing import current_trace

MOST_SWEEP_S = 60.0  # between looks for what has expired
_log = structlog.get_logger("service.sampling")


class SamplingObserver(Protocol):
    """Told what became of each exchange that was chosen."""

    def sample_kept(self, reason: str) -> None: ...
    def sample_dropped(self, reason: str) -> None: ...
    def samples_changed(self, kept: int, used_bytes: int) -> None: ...


@dataclass(frozen=True)
class _Chosen:
    picture: bytes | NDArray[np.uint8]
    size_bytes: int
    answer: Answer
    note: Note
    reason: Reason


class Sampler:
    """Told of exchanges on one event loop, between `start` and `close`; a thread of its own writes."""

    def __init__(
        self,
        plan: Plan,
        store: SampleStore,
        limits: Limits,
        observer: SamplingObserver,
        has_drifted: Callable[[str, str | None], bool],
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        sweep_s: float = MOST_SWEEP_S,
    ) -> None:
        """has_drifted: asked of a model's name and a source."""
        self._plan, self._store, self._limits, self._observer = plan, store, limits, observer
        self._has_drifted, self._draw, self._clock, self._sweep_s = has_drifted, draw, clock, sweep_s
        self._budget = Budget(plan.per_minute)
        self._waiting: queue.SimpleQueue[_Chosen | None] = queue.SimpleQueue()
        self._waiting_bytes, self._lock = 0, threading.Lock()
        self._closing, self._is_failing = False, False
        # A store that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._write_on, name="sampling", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Forget what waits; one that is being written is written."""
        self._closing = True
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def exchanged(
        self, picture: bytes | NDArray[np.uint8], options: DetectOptions, score_threshold: float, answer: Answer
    ) -> None:
        """A client has been answered. Takes microseconds and never raises."""
        if answer.timings.from_cache:
            return  # looked at when it was answered first
        source, trace = current_source.get(), current_trace.get()
        drifted = self._has_drifted(answer.model.name, source)
        reasons = reasons_of(self._plan, options, score_threshold, answer, drifted, self._draw)
        if reasons:
            trace_id = trace.trace_id if trace and trace.sampled else None
            note = Note(_now(), tuple(reasons), score_threshold, source, trace_id)
            self._choose(picture, options, answer, note, reasons)

    def paired(
        self,
        picture: bytes,
        options: DetectOptions,
        score_threshold: float,
        answer: Answer,
        found: Detections,
        pairing: Pairing,
    ) -> None:
        """A candidate has found what a client was answered before. Takes microseconds and never raises."""
        if pairing.outcome not in ("agree", "candidate_error"):
            note = Note(
                _now(), ("disagreement",), score_threshold, candidate_outcome=pairing.outcome, candidate_found=found
            )
            self._choose(picture, options, answer, note, ["disagreement"])

    def _choose(
        self,
        picture: bytes | NDArray[np.uint8],
        options: DetectOptions,
        answer: Answer,
        note: Note,
        reasons: Sequence[Reason],
    ) -> None:
        if not self._plan.may_show(options):
            return self._observer.sample_dropped("unblurred")
        size_bytes = len(picture) if isinstance(picture, bytes) else picture.nbytes
        if self._waiting_bytes + size_bytes > self._plan.queue_bytes:
            return self._observer.sample_dropped("queue_full")
        reason = self._budget.take(reasons, self._clock())
        if reason is None:
            return self._observer.sample_dropped("rate")
        with self._lock:
            self._waiting_bytes += size_bytes
        self._waiting.put(_Chosen(picture, size_bytes, answer, note, reason))

    def _write_on(self) -> None:
        sweep_at_s = time.monotonic()
        while not self._closing:
            if time.monotonic() >= sweep_at_s:
                self._try(self._store.sweep)
                sweep_at_s = time.monotonic() + self._sweep_s
            try:
                chosen = self._waiting.get(timeout=max(sweep_at_s - time.monotonic(), 0))
            except queue.Empty:
                continue
            if chosen is not None and not self._closing:
                self._write(chosen)

    def _write(self, chosen: _Chosen) -> None:
        try:
            picture = chosen.picture
            image = picture if isinstance(picture, np.ndarray) else decode(picture, self._limits)
            packed = pack(image, chosen.answer, chosen.note, self._plan.blur)
            if self._try(lambda: self._store.put(packed)):
                self._observer.sample_kept(chosen.reason)
            else:
                self._observer.sample_dropped("store")
        except (ServiceError, MemoryError):  # no memory to decode it in just now
            self._observer.sample_dropped("memory")
        except TooLarge:
            self._observer.sample_dropped("too_large")
        finally:
            with self._lock:
                self._waiting_bytes -= chosen.size_bytes

    def _try(self, step: Callable[[], object]) -> bool:
        """Whether the store did it. The first failure of a row is logged. Raises TooLarge."""
        try:
            step()
        except TooLarge:
            raise
        except Exception as error:  # each store has errors of its own, and none of them may end this thread
            if not self._is_failing:
                _log.warning("samples cannot be kept", error=type(error).__name__, reason=str(error))
            self._is_failing = True
            return False
        self._is_failing = False
        self._observer.samples_changed(self._store.kept, self._store.used_bytes)
        return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
