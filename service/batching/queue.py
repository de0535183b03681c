"""What is waiting: one line for each canvas and priority, by turn within a line."""

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from service.batching.cost import Size

Item = TypeVar("Item")


@dataclass(eq=False)
class Waiting(Generic[Item]):
    """One image in the queue. Times are seconds of one monotonic clock."""

    item: Item
    canvas: Hashable
    pixels: int  # padded
    deadline: float
    arrived: float
    high: bool = False
    masked: bool = False  # masks are wanted of it, which cost extra
    caller: str = ""
    turn: int = 0
    owed: bool = False  # its caller has had less than its share
    left: bool = False  # its caller is gone; nobody reads the answer
    future: Any = None  # where the live batcher answers; the rules never look at it


@dataclass(eq=False)
class Line(Generic[Item]):
    """Those of one canvas and priority, lowest turn first, those of one turn as they came."""

    canvas: Hashable
    high: bool
    waiting: list[Waiting[Item]] = field(default_factory=list)
    passed_over: int = 0  # batches taken from elsewhere since this line was last served

    def ahead_of(self, turn: float) -> int:
        """How many a newcomer of this turn finds before it."""
        return bisect_right(self.waiting, turn, key=_turn)

    def size_of(self, images: int) -> Size:
        """The first so many of this line, as one batch."""
        return size_of(self.waiting[:images])


class Queue(Generic[Item]):
    """Every line that holds anybody."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Hashable, bool], Line[Item]] = {}
        self._held = Counter[str]()  # by caller; none at zero

    def __len__(self) -> int:
        return sum(len(line.waiting) for line in self._lines.values())

    def __iter__(self) -> Iterator[Waiting[Item]]:
        return (waiting for line in self._lines.values() for waiting in line.waiting)

    def lines(self, *, high: bool | None = None) -> list[Line[Item]]:
        """The lines of one priority, or all."""
        return [line for line in self._lines.values() if high in (None, line.high)]

    def line(self, canvas: Hashable, *, high: bool) -> Line[Item] | None:
        return self._lines.get((canvas, high))

    def add(self, waiting: Waiting[Item]) -> None:
        line = self._lines.setdefault((waiting.canvas, waiting.high), Line(waiting.canvas, waiting.high))
        insort(line.waiting, waiting, key=_turn)
        self._held[waiting.caller] += 1

    def remove(self, waiting: Waiting[Item]) -> bool:
        """Take one out, wherever it stands; False if it is not here."""
        line = self._lines.get((waiting.canvas, waiting.high))
        if line is None or waiting not in line.waiting:
            return False
        line.waiting.remove(waiting)
        self._gone([waiting])
        if not line.waiting:
            del self._lines[waiting.canvas, waiting.high]
        return True

    def take(self, line: Line[Item], images: int) -> list[Waiting[Item]]:
        """Take the first so many out of line, and put it last in patience; every line left behind grows more urgent."""
        taken, line.waiting = line.waiting[:images], line.waiting[images:]
        line.passed_over = 0
        self._gone(taken)
        if not line.waiting:
            del self._lines[line.canvas, line.high]
        return taken

    def is_owed(self, waiting: Waiting[Item]) -> bool:
        """Whether waiting comes before others for its caller's sake: it had little so far, or asks for little now."""
        if len(self._held) < 2:
            return False
        return waiting.owed or 2 * self._held[waiting.caller] < max(self._held.values())

    def _gone(self, gone: list[Waiting[Item]]) -> None:
        for waiting in gone:
            self._held[waiting.caller] -= 1
            if not self._held[waiting.caller]:
                del self._held[waiting.caller]


def _turn(waiting: Waiting[Item]) -> float:
    return waiting.turn


def size_of(batch: list[Waiting[Item]], times: int = 1) -> Size:
    """What the cost of so many such batches as one depends on. batch holds images of one canvas, and at least one."""
    masked = sum(waiting.masked for waiting in batch)
    return Size(batch[0].canvas, batch[0].pixels, times * len(batch), times * masked)
