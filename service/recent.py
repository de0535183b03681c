"""The last minute of each model's requests, kept exactly: what a glance needs where nobody scrapes the histograms."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 60.0
_MOST = 20_000  # requests remembered for a model: beyond it the window is shorter


@dataclass(frozen=True)
class Recent:
    """What the requests of the window came to. Latencies are of answers alone, None where there was none."""

    requests: int
    failed: int  # every outcome but an answer
    answers_per_s: float
    p50_s: float | None
    p95_s: float | None


class RecentRequests:
    """When each request of the window ended, and how long an answer took (None: it got none), by model and version."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since = clock, clock()
        self._ended: dict[tuple[str, str], deque[tuple[float, float | None]]] = {}

    def add(self, model: str, version: str, answered_s: float | None) -> None:
        """One request has ended, answered after answered_s seconds, or without an answer."""
        self._ended.setdefault((model, version), deque(maxlen=_MOST)).append((self._clock(), answered_s))

    def of(self, model: str, version: str) -> Recent:
        """The model's last WINDOW_S seconds, or as many as this process is old or remembers."""
        ended, now = self._ended.get((model, version), deque[tuple[float, float | None]]()), self._clock()
        while ended and ended[0][0] < now - WINDOW_S:
            ended.popleft()
        latencies_s = sorted(seconds for _, seconds in ended if seconds is not None)
        full = len(ended) == _MOST
        window_s = max(now - (ended[0][0] if full else max(self._since, now - WINDOW_S)), 1.0)
        return Recent(
            requests=len(ended),
            failed=len(ended) - len(latencies_s),
            answers_per_s=len(latencies_s) / window_s,
            p50_s=_quantile(latencies_s, 0.5),
            p95_s=_quantile(latencies_s, 0.95),
        )


def _quantile(sorted_values: list[float], share: float) -> float | None:
    """The smallest value with at least share of all at or below it."""
    if not sorted_values:
        return None
    return sorted_values[max(math.ceil(share * len(sorted_values)) - 1, 0)]
