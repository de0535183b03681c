"""How many images may be inside at once, and how many of one caller. A short no is kinder than a long wait."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded

_KEPT_FREE = 8  # one place in so many is for callers who hold less than their share


class Admission:
    """Counts images inside; refuses at once beyond max_in_flight, and high_places more for those of high priority."""

    def __init__(self, max_in_flight: int, high_places: int, changed: Callable[[int], None]) -> None:
        self._most = {False: max_in_flight, True: high_places}
        self._inside = {False: Counter[str](), True: Counter[str]()}  # by whether they go first, and by caller
        self._changed = changed

    @contextmanager
    def slot(self, drain_s: float, high: bool = False, caller: str = "", places: int = 1) -> Iterator[bool]:
        """
        Hold places for the length of the block, one for each canvas it holds; yields whether their holder goes first.

        Who wants more places than there are is let in alone.

        drain_s: predicted seconds until the work inside is done. high: of high priority; once the places of those are
        taken, it is treated like everybody. caller: by name, or "" for one of those who have none; a name that holds
        its share of the places leaves the last of them to others. Raises Overloaded.
        """
        goes_first = self.check(drain_s, high, caller, places)
        self._count(goes_first, caller, places)
        try:
            yield goes_first
        finally:
            self._count(goes_first, caller, -places)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is inside."""
        return not any(self._inside.values())

    def check(self, drain_s: float, high: bool = False, caller: str = "", places: int = 1) -> bool:
        """Whether a caller of this priority would go first. Raises Overloaded if there is no place."""
        if high and self._inside[True].total() + places <= self._open_to(caller, True):
            return True
        normal = self._inside[False].total()
        if normal and normal + places > self._open_to(caller, False):
            own = self._inside[False][caller]
            yours = "" if normal >= self._most[False] else f" {own} of them yours, which is more than your share;"
            raise Overloaded(f"{normal} requests are inside,{yours} the most allowed.", drain_s, "in_flight")
        return False

    def _open_to(self, caller: str, goes_first: bool) -> int:
        """Of all places, those caller may find taken and still come in."""
        most, inside = self._most[goes_first], self._inside[goes_first]
        one_more = len(inside) + (caller not in inside) + 1  # there is always room for somebody new
        holds_its_share = inside[caller] * one_more >= most
        return most - most // _KEPT_FREE if caller and holds_its_share else most

    def _count(self, goes_first: bool, caller: str, change: int) -> None:
        inside = self._inside[goes_first]
        inside[caller] += change
        if not inside[caller]:
            del inside[caller]
        self._changed(sum(counter.total() for counter in self._inside.values()))
