"""Whose turn it is: callers share an engine image by image, however many one of them sends."""

from collections import Counter

CREDIT = 16
"""How many images a caller who asked for less than its share may catch up at once."""
_KNOWN = 1024  # callers remembered before those are forgotten who have all their credit


class Turns:
    """
    Start-time fair queueing (Goyal, Vin and Cheng, 1996) in whole images: lower turns first, equal ones as they came.

    Who sends as fast as the engine runs stands behind its own earlier images; who sends less comes before those. What
    was sent and never ran is not held against anybody for longer than it was inside.
    """

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[str, int] = {}
        self._inside = Counter[str]()

    def advance(self, first: int) -> None:
        """first: the lowest turn that waits."""
        self._now = max(self._now, first)

    def of_next(self, caller: str) -> int:
        """The turn caller's next image would have."""
        earliest, inside = self._now - CREDIT, self._inside[caller]
        last = self._last.get(caller, earliest - 1)
        turn = max(earliest, min(last + 1, self._now + inside))
        return max(turn, last) if inside else turn

    def enter(self, caller: str) -> tuple[int, bool]:
        """An image of caller is let in: its turn, and whether caller has had less than its share."""
        turn = self._last[caller] = self.of_next(caller)
        self._inside[caller] += 1
        return turn, turn < self._now

    def leave(self, caller: str) -> None:
        """An image that entered is done with, run or not."""
        self._inside[caller] -= 1
        if not self._inside[caller]:
            del self._inside[caller]
        if len(self._last) > _KNOWN:
            earliest = self._now - CREDIT
            self._last = {name: turn for name, turn in self._last.items() if turn >= earliest or name in self._inside}
