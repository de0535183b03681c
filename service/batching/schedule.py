"""
Everything inside, and what runs next: the whole batcher without its thread and its clock.

The live batcher and the simulator drive the same object: admit, add, take, then succeeded or failed, and settle.
"""

import sys
from dataclasses import dataclass, field
from math import inf
from typing import Generic

from service.batching.cost import CostModel, Size
from service.batching.forecast import Forecast
from service.batching.policy import Budget, Policy
from service.batching.queue import Item, Queue, Waiting, size_of
from service.batching.turns import Turns
from service.errors import Overloaded

_HOPELESS = 0.8  # share of its predicted cost which an image must still have time for
_STANDING = 0.8  # share of a caller's time which a queue that stands may take up: a longer one answers nobody sooner


@dataclass(eq=False)
class Ticket:
    """A caller let in, from before its image is decoded until its answer is rendered. Times are seconds."""

    admitted: float
    deadline: float
    high: bool
    caller: str = ""
    turns: tuple[tuple[int, bool], ...] = ()  # one for each of its images: its turn, and whether its caller is owed it
    ahead_s: float = 0.0
    own_s: float = 0.0
    coming: list[tuple[int, bool]] = field(default_factory=list)  # of turns, those of images not yet in the queue
    queued_s: float | None = None  # from entering the queue to the result; None until there is one


class Schedule(Generic[Item]):
    """Pure: now is always an argument. Not thread-safe."""

    def __init__(self, budget: Budget) -> None:
        self.cost, self.forecast = CostModel(), Forecast()
        self._policy = Policy(self.cost, budget)
        self._queue = Queue[Item]()
        self._retries: list[list[Waiting[Item]]] = []  # halves of failed batches: next, before anything else
        self._unlearned: list[tuple[Size, float]] = []  # batches that have run, and their seconds
        self._running: list[Waiting[Item]] = []
        self._running_since = 0.0
        self._coming = set[Ticket]()  # admitted and not yet queued
        self._turns = {False: Turns(), True: Turns()}  # by whether they are high

    @property
    def depth(self) -> int:
        """Images waiting."""
        return len(self._queue) + sum(map(len, self._retries))

    @property
    def is_idle(self) -> bool:
        """Whether nobody runs, waits or is to come."""
        return not (self._running or self.depth or self._coming)

    def admit(self, now: float, deadline: float, *, high: bool = False, caller: str = "", images: int = 1) -> Ticket:
        """Let a caller with that many images in. Raises Overloaded as check does."""
        ahead_s, own_s = self.check(now, deadline, high=high, caller=caller, images=images)
        turns = tuple(self._turns[high].enter(caller) for _ in range(images))
        ticket = Ticket(now, deadline, high, caller, turns, ahead_s, own_s, list(turns))
        self._coming.add(ticket)
        return ticket

    def check(
        self, now: float, deadline: float, *, high: bool = False, caller: str = "", images: int = 1
    ) -> tuple[float, float]:
        """
        Seconds of work before a newcomer's last image and of its own; raises Overloaded if that would not be answered
        by its deadline, or would wait in a standing queue for most of the time until then.

        An idle service always tries: only what runs can correct a prediction that was too dark.
        """
        last_turn = self._turns[high].of_next(caller) + images - 1
        others_s = self.work_ahead_s(now, high=high, turn=last_turn)
        ahead_s, own_s, left_s = others_s + (images - 1) * self.cost.image_s, self.cost.batch_s, deadline - now
        late_s = self.forecast.stay_s(ahead_s, own_s) - left_s
        if self._waited_s(now) > _STANDING * left_s / 2:  # no burst, which may fill all the time there is
            late_s = max(late_s, others_s - _STANDING * left_s)
        if late_s > 0 and not self.is_idle:
            raise Overloaded(
                f"{ahead_s:.2f} s of work is waiting, too much to answer before the deadline.", late_s, "deadline"
            )
        return ahead_s, own_s

    def add(self, ticket: Ticket, waiting: Waiting[Item]) -> None:
        """An image of an admitted caller is ready for the engine."""
        waiting.caller = ticket.caller
        waiting.turn, waiting.owed = ticket.coming.pop(0)
        if not ticket.coming:
            self._coming.discard(ticket)
        self._queue.add(waiting)

    def settle(self, ticket: Ticket, now: float) -> None:
        """The caller is done with, answered or not."""
        self._coming.discard(ticket)
        for _ in ticket.turns:
            self._turns[ticket.high].leave(ticket.caller)
        if ticket.queued_s is not None:
            outside_s = max(now - ticket.admitted - ticket.queued_s, 0.0)
            self.forecast.learn(ticket.ahead_s, ticket.own_s, ticket.queued_s, outside_s)

    def leave(self, waiting: Waiting[Item]) -> bool:
        """A caller is gone. True if its image had not run yet, and now never will."""
        waiting.left = True
        return self._queue.remove(waiting) or any(waiting in half for half in self._retries)

    def take(self, now: float, most: int = sys.maxsize) -> tuple[list[Waiting[Item]], list[Waiting[Item]]]:
        """
        What runs now, and who has been dropped because their deadline cannot be met any more.

        most: images of a batch, but for one that failed and is run again.
        """
        if self.depth:
            self.learn()
        late = self._drop_late(now)
        batch = self._next_retry() or self._policy.next_batch(self._queue, now, most)
        self._running, self._running_since = batch, now
        for high, turns in self._turns.items():
            if lines := self._queue.lines(high=high):
                turns.advance(min(line.waiting[0].turn for line in lines))
        return self._running, late

    def fill_batches(self) -> None:
        """
        Batches run in parts from now on: as large as can be.

        Between two parts a lane waits for Python, in which all lanes take turns, and that is in no part's seconds.
        """
        self._policy.fills_batches = True

    def succeeded(self, now: float) -> None:
        """What take() returned has run."""
        self.part_succeeded(self._running, now - self._running_since)
        self.learn()

    def part_succeeded(self, part: list[Waiting[Item]], seconds: float, lanes: int = 1) -> None:
        """
        A part of what take() returned has run, in one of so many lanes.

        In the same seconds the engine can run as much in every other lane. What can be learned from that is put off
        until somebody else's batch is chosen, or learn is called: callers need not wait for it.
        """
        self._unlearned.append((size_of(part, lanes), seconds))
        self._policy.ran()
        self._done(part)

    def learn(self) -> None:
        """Take in what batches took that have run."""
        for size, seconds in self._unlearned:
            self.cost.learn(size, seconds)
        self._unlearned.clear()

    def failed(self, *, out_of_memory: bool = False) -> Waiting[Item] | None:
        """As part_failed, of all that take() returned."""
        return self.part_failed(self._running, out_of_memory=out_of_memory)

    def part_failed(
        self, part: list[Waiting[Item]], lanes: int = 1, *, out_of_memory: bool = False
    ) -> Waiting[Item] | None:
        """
        A part of what take() returned has failed, in one of so many lanes: its halves run next. A single image is
        returned: it fails alone.

        out_of_memory: for want of memory; the batches to come are smaller too.
        """
        self._done(part)
        if out_of_memory:
            self._policy.ran_out_of_memory(size_of(part, lanes))
        if len(part) == 1:
            return part[0]
        middle = len(part) // 2
        self._retries += [part[middle:], part[:middle]]  # a stack: the first half goes first
        return None

    def _done(self, part: list[Waiting[Item]]) -> None:
        self._running = [waiting for waiting in self._running if waiting not in part]

    def _waited_s(self, now: float) -> float:
        """How long the first in line has waited, of the line where that is longest."""
        return max((now - line.waiting[0].arrived for line in self._queue.lines()), default=0.0)

    def work_ahead_s(self, now: float, *, high: bool = False, turn: float = inf) -> float:
        """Seconds of engine work before a newcomer of this priority and turn; without one, behind all of its kind."""
        running_s = 0.0
        if self._running:
            # A batch that is overdue is expected to be late by as much again.
            running_s = abs(self.cost.predict_s(size_of(self._running)) - (now - self._running_since))
        retries_s = sum(self.cost.predict_s(size_of(half)) for half in self._retries if half)
        coming = sum(
            other.high > high or (other.high == high and own <= turn)
            for other in self._coming
            for own, _ in other.coming
        )
        return running_s + retries_s + self._queued_s(high, turn) + coming * self.cost.image_s

    def _queued_s(self, high: bool, turn: float) -> float:
        total_s = 0.0
        for line in self._queue.lines(high=True if high else None):
            ahead = line.ahead_of(inf if line.high > high else turn)
            best = min(self._policy.best_images(line.canvas, line.waiting[0].pixels), max(ahead, 1))
            whole, rest = divmod(ahead, best)
            total_s += whole * self.cost.predict_s(line.size_of(best))
            total_s += self.cost.predict_s(line.size_of(rest)) if rest else 0.0
        return total_s

    def _next_retry(self) -> list[Waiting[Item]]:
        while self._retries:
            if staying := [waiting for waiting in self._retries.pop() if not waiting.left]:
                return staying
        return []

    def _drop_late(self, now: float) -> list[Waiting[Item]]:
        """Those out of time, and those who cannot be in time any more, unless there is nobody else to run."""
        hopeless: list[Waiting[Item]] = []
        for line in self._queue.lines():
            latest = now + _HOPELESS * self.cost.predict_s(line.size_of(1))
            hopeless += [one for one in line.waiting if one.deadline < latest]
        if len(hopeless) == len(self._queue):
            hopeless = [one for one in hopeless if one.deadline <= now]
        for one in hopeless:
            self._queue.remove(one)
        return hopeless
