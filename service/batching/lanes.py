"""
Side by side: where several wait, a batch goes in parts to lanes, each of which has a share of the engine's cores.

Threads that share one inference wait for each other at every layer, and together for whatever takes one core for a
moment: decoding, answering. Lanes do not wait for each other, and while one gathers or answers the others compute.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from typing import Any, Generic

from service.batching.queue import Item, Waiting

Run = Callable[[Sequence[Any]], Sequence[Any]]


class Lanes(Generic[Item]):
    """None at first: they are loaded once there is work for two, and until then the whole engine runs every batch."""

    def __init__(
        self,
        lock: threading.Lock,
        executor: Executor,
        load: Callable[[], Sequence[Run]] | None,
        take: Callable[[], list[Waiting[Item]]],
        attempt: Callable[[Run, list[Waiting[Item]], int], None],
        opened: Callable[[], None],
        at_rest: Callable[[], None],
    ) -> None:
        """
        lock guards all that is here. load: what each lane runs; None where the engine has no lanes.

        take: called with the lock held, the next batch, empty if nobody waits. attempt: runs a part in one of so many
        lanes and answers its callers; raises nothing. opened, at_rest: told, with the lock held, that from now on there
        are lanes, and that the last one has stopped.
        """
        self._given, self._executor, self._load = threading.Condition(lock), executor, load
        self._take, self._attempt, self._opened, self._at_rest = take, attempt, opened, at_rest
        self._parts = deque[list[Waiting[Item]]]()
        self._since: dict[int, float] = {}  # by lane that runs a part: when that began
        self._loading: Future[None] | None = None
        self._lanes: list[Future[None]] = []
        self._closing = False

    @property
    def is_busy(self) -> bool:
        """Whether anything runs in any of them, or waits to."""
        return bool(self._since or self._parts)

    @property
    def has_died(self) -> bool:
        """Whether the thread of one has ended, though nobody closed."""
        return not self._closing and any(lane.done() for lane in self._lanes)

    def running_s(self, now: float) -> float:
        """How long the part that began first has been running; 0 while none does."""
        return max((now - since for since in self._since.values()), default=0.0)

    @property
    def are_loading(self) -> bool:
        """Meanwhile the whole engine runs image by image: it would keep memory for sizes it never runs again."""
        return self._loading is not None and not self._loading.done()

    def load_for(self, waiting: int) -> None:
        """Begin to load them, once, where more than one image waits."""
        if waiting > 1 and self._load is not None and self._loading is None:
            try:
                self._loading = self._executor.submit(self._open, self._load)
            except RuntimeError:  # no thread can be had
                self._load = None

    def give(self, batch: list[Waiting[Item]]) -> bool:
        """
        Have batch run in parts, with the lock held; whatever waits then follows by itself.

        False, and nothing done, while there are no lanes, and where the whole engine does better: for a single image.
        """
        if len(batch) < 2 or not self._lanes:
            return False
        self._parts += _parts(batch, len(self._lanes))
        self._given.notify_all()
        return True

    def notice(self) -> None:
        """Somebody waits: a lane that rests takes them. With the lock held."""
        self._given.notify()

    def close(self) -> None:
        """Let the threads end, once they have nothing to run. Blocks."""
        if self._loading is not None:
            wait([self._loading])
        with self._given:
            self._closing = True
            self._given.notify_all()
        wait(self._lanes)
        # They lead back to who holds this: a circle, and the engine in it would stay until the garbage collector comes.
        del self._take, self._attempt

    def _open(self, load: Callable[[], Sequence[Run]]) -> None:
        runs = load()
        lanes = [self._executor.submit(self._work, number, run, len(runs)) for number, run in enumerate(runs)]
        with self._given:
            self._lanes = lanes
            if lanes:
                self._opened()

    def _work(self, number: int, run: Run, lanes: int) -> None:
        """One lane's thread, from the first part to close."""
        while True:
            with self._given:
                # While all rest, who comes is the whole engine's, however late this one wakes.
                part = self._next(lanes) if self.is_busy else []
                self._since.pop(number, None)
                while not part:
                    if not self.is_busy:
                        self._at_rest()
                    if self._closing:
                        return
                    self._given.wait()
                    part = self._next(lanes) if self.is_busy else []
                self._since[number] = time.monotonic()
            self._attempt(run, part, lanes)
            del part  # else the last images stay until the next come

    def _next(self, lanes: int) -> list[Waiting[Item]]:
        """The part to run now, without who has left meanwhile; empty if nobody waits."""
        while self._parts or (batch := self._take()):
            if not self._parts:
                self._parts += _parts(batch, lanes)
                self._given.notify()
            if part := [waiting for waiting in self._parts.popleft() if not waiting.left]:
                return part
        return []


def _parts(batch: list[Waiting[Item]], most: int) -> list[list[Waiting[Item]]]:
    """At most so many, none more than one image larger than another, none empty."""
    each, more = divmod(len(batch), most)
    sizes = [each + (index < more) for index in range(most)]
    starts = [sum(sizes[:index]) for index in range(most)]
    return [batch[start : start + size] for start, size in zip(starts, sizes, strict=True) if size]
