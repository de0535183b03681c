"""How many requests may be inside at once. A short no is kinder than a long wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded


class Admission:
    """Counts requests inside; refuses at once beyond max_in_flight, and high_places more for those of high priority."""

    def __init__(self, max_in_flight: int, high_places: int, changed: Callable[[int], None]) -> None:
        self._most = {False: max_in_flight, True: high_places}
        self._inside = {False: 0, True: 0}  # by whether they go first
        self._changed = changed

    @contextmanager
    def slot(self, drain_s: float, high: bool = False) -> Iterator[bool]:
        """
        Hold one place for the length of the block; yields whether its holder goes first.

        drain_s: predicted seconds until the work inside is done. high: of high priority; once the places of those are
        taken, it is treated like everybody. Raises Overloaded.
        """
        goes_first = self.check(drain_s, high)
        self._count(goes_first, 1)
        try:
            yield goes_first
        finally:
            self._count(goes_first, -1)

    def check(self, drain_s: float, high: bool = False) -> bool:
        """Whether a caller of this priority would go first. Raises Overloaded if there is no place."""
        goes_first = high and self._inside[True] < self._most[True]
        if self._inside[goes_first] >= self._most[goes_first]:
            raise Overloaded(f"{self._inside[False]} requests are inside, the most allowed.", drain_s, "in_flight")
        return goes_first

    def _count(self, goes_first: bool, change: int) -> None:
        self._inside[goes_first] += change
        self._changed(sum(self._inside.values()))
