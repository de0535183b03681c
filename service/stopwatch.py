"""Seconds by stage of one request."""

import time

from service.detections import Timings


class Stopwatch:
    """Seconds by stage. A lap counts from the end of the last lap or record."""

    def __init__(self) -> None:
        self._start = self._mark = time.perf_counter()
        self._stages_s: dict[str, float] = {}
        self._starts_s: dict[str, float] = {}
        self._batch_size = 0
        self._canvas_hw: tuple[int, int] | None = None

    def lap(self, stage: str, **parts_s: float) -> None:
        """parts_s: stages measured elsewhere which the lap held too."""
        now = time.perf_counter()
        own_s = now - self._mark - sum(parts_s.values())
        for name, seconds in {stage: own_s, **parts_s}.items():
            self._starts_s[name], self._stages_s[name] = self._mark, seconds
            self._mark += seconds
        self._mark = now

    def record(self, batch_size: int, canvas_hw: tuple[int, int], **stages_s: float) -> None:
        """Stages measured elsewhere, one after the other, and in what company and shape they were run."""
        for stage, seconds in stages_s.items():
            self._starts_s[stage], self._stages_s[stage] = self._mark, seconds
            self._mark += seconds
        self._batch_size, self._canvas_hw = batch_size, canvas_hw
        self._mark = time.perf_counter()

    def timings(self, from_cache: bool | None) -> Timings:
        total_s = time.perf_counter() - self._start
        return Timings(self._stages_s, total_s, self._batch_size, from_cache, self._canvas_hw, self._starts_s)
