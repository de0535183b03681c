"""How many requests may be inside at once. A short no is kinder than a long wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded


class Admission:
    """Counts requests inside; beyond max_in_flight callers are refused immediately."""

    def __init__(self, max_in_flight: int, changed: Callable[[int], None]) -> None:
        self._max, self._inside, self._changed = max_in_flight, 0, changed

    @contextmanager
    def slot(self, drain_s: float) -> Iterator[None]:
        """Hold one place for the length of the block. drain_s: predicted seconds until the work inside is done."""
        if self._inside >= self._max:
            raise Overloaded(f"{self._inside} requests are inside, the most allowed.", drain_s, "in_flight")
        self._inside += 1
        self._changed(self._inside)
        try:
            yield
        finally:
            self._inside -= 1
            self._changed(self._inside)
