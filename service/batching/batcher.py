"""
The loop: callers wait on the event loop, one thread runs batches.

The thread itself asks the schedule for its next batch the moment the last one ends, or a lane is free, and gathers it
before it hands out the answers of the last, so the engine never waits for a busy event loop. A batch is chosen as late
as can be: until then it grows, and who left or is late falls out.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from service.batching.lanes import Lanes, Run
from service.batching.outcomes import fault_of, results_or_error
from service.batching.policy import Budget
from service.batching.queue import Waiting
from service.batching.schedule import Schedule, Ticket
from service.errors import DeadlineExceeded, NotReady

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchObserver(Protocol):
    """Told what happens inside, on the event loop; of a batch once its callers are answered."""

    def cancelled(self, stage: str) -> None: ...
    def ran(self, batch: Sequence[Any], results: Sequence[Any]) -> None: ...


class Batcher(Generic[Item, Result]):
    """Runs items in batches of equal canvas, one after another; each caller is answered once, with its own result."""

    def __init__(
        self,
        run: Callable[[Any], Sequence[Result]],
        executor: Executor,
        budget: Budget,
        observer: BatchObserver,
        load_lanes: Callable[[], Sequence[Run]] | None = None,
        gather: Callable[[Sequence[Item]], Any] = list,
    ) -> None:
        """
        executor: a thread for the batches; with load_lanes, for which see Lanes, one more, and one a lane.

        gather: what run is given for a batch of items, made before those of the batch before are answered: the event
        loop, busy with their answers, would only hold it up, and the engine waits for it.
        """
        self._run, self._gather, self._executor, self._observer = run, gather, executor, observer
        lock = threading.Lock()
        self._schedule = Schedule[Item](budget)  # guarded by lock; held for microseconds
        self._changed = threading.Condition(lock)
        opened, at_rest = self._schedule.fill_batches, self._changed.notify
        self._lanes = Lanes[Item](lock, executor, load_lanes, self._take, self._in_lane, opened, at_rest)
        self._answer: Callable[[], None] | None = None  # those of the batch before, once the next is gathered
        self._closing = False
        self._since: float | None = None  # when the whole engine began to run what it runs now
        self.failures_in_a_row = 0  # images the engine failed on, since it last got through one
        self._loop: asyncio.AbstractEventLoop | None = None
        self._working: Future[None] | None = None

    def start(self) -> None:
        """Begin to run batches; takes threads of the executor until close. Needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._working = self._executor.submit(self._work)

    async def close(self) -> None:
        """Finish what was accepted, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._working is not None:
            await asyncio.wrap_future(self._working)

    @property
    def depth(self) -> int:
        """Items waiting."""
        with self._changed:
            return self._schedule.depth

    @property
    def is_idle(self) -> bool:
        """Whether nothing is inside: nobody runs, waits or is to come."""
        with self._changed:
            return self._schedule.is_idle

    @property
    def has_died(self) -> bool:
        """Whether a thread of the engine's has ended, though nobody closed."""
        has_ended = self._working is not None and self._working.done()
        return (has_ended or self._lanes.has_died) and not self._closing

    def running_s(self) -> float:
        """How long what runs now has been running, of several the first; 0 while nothing does."""
        with self._changed:
            now = time.monotonic()
            return max(0.0 if self._since is None else now - self._since, self._lanes.running_s(now))

    def queued_work_s(self) -> float:
        """Predicted seconds until everything now inside has run."""
        with self._changed:
            return self._schedule.work_ahead_s(time.monotonic())

    def check(self, deadline: float, *, high: bool = False, caller: str = "") -> None:
        """Raises Overloaded if admit would."""
        with self._changed:
            self._schedule.check(time.monotonic(), deadline, high=high, caller=caller)

    @contextmanager
    def admit(self, deadline: float, *, high: bool = False, caller: str = "", items: int = 1) -> Iterator[Ticket]:
        """
        A place for items, for the length of the block; from now on they count as work to come.

        caller: callers of different names share the engine equally, whoever sends more.
        deadline: time.monotonic() seconds. Raises Overloaded at once if it cannot be kept; NotReady when closing.
        """
        if self._closing:
            raise NotReady("The model is being unloaded.")
        with self._changed:
            ticket = self._schedule.admit(time.monotonic(), deadline, high=high, caller=caller, images=items)
        try:
            yield ticket
        finally:
            with self._changed:
                self._schedule.settle(ticket, time.monotonic())

    async def submit(
        self, ticket: Ticket, item: Item, canvas: Hashable, pixels: int, *, masked: bool = False
    ) -> tuple[Result, float, int]:
        """
        Wait for item's result: (result, seconds waited in the queue, items in its batch).

        pixels: padded. masked: it will want masks, which cost extra. Raises DeadlineExceeded, NotReady or EngineFailed.
        A cancelled caller leaves its batch-mates alone.
        """
        loop, arrived = asyncio.get_running_loop(), time.monotonic()
        future = loop.create_future()
        waiting = Waiting(item, canvas, pixels, ticket.deadline, arrived, ticket.high, masked, future=future)
        with self._changed:
            if self._closing:
                raise NotReady("The model is being unloaded.")
            self._schedule.add(ticket, waiting)
            self._notice()
        overdue = loop.call_at(ticket.deadline, self._overdue, waiting)  # the loop's clock is time.monotonic()
        try:
            result: tuple[Result, float, int] | None = await future
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        finally:
            overdue.cancel()
            del future, waiting, overdue  # an error's traceback leads to this frame, and they would lead to the error
        if result is None:
            raise DeadlineExceeded("The deadline passed before the answer was ready.")
        ticket.queued_s = max(ticket.queued_s or 0.0, time.monotonic() - arrived)
        return result

    def _overdue(self, waiting: Waiting[Item]) -> None:
        if not waiting.future.done():
            waiting.future.set_result(None)  # an error's traceback would lead from the running batch to its frames
            self._leave(waiting)

    def _leave(self, waiting: Waiting[Item]) -> None:
        if waiting.left:  # its own deadline and its caller's passed together
            return
        with self._changed:
            in_time = self._schedule.leave(waiting)
        self._observer.cancelled("queue" if in_time else "engine")

    def _notice(self) -> None:
        """Wake whoever takes the next batch."""
        if self._lanes.is_busy:
            self._lanes.notice()
        else:
            self._changed.notify()

    def _work(self) -> None:
        """The engine's thread, from start to close; while lanes are busy they take what comes."""
        try:
            while self._work_once():
                pass
        finally:
            self._answer_last()
        self._lanes.close()

    def _work_once(self) -> bool:
        """Run what is next, or wait until something is; False once all is done and closed."""
        with self._changed:
            batch = [] if self._lanes.is_busy else self._take_or_give()
            if not batch:
                self._answer_last()
                if not self._lanes.is_busy and self._closing:
                    return False
                self._changed.wait()
            self._since = time.monotonic() if batch else None
        if batch:
            self._answer = self._attempt(self._gathered, batch)
            if not self.depth:
                self._answer_last()
        self._since = None
        return True

    def _gathered(self, items: Sequence[Item]) -> Sequence[Result]:
        """What the whole engine makes of items."""
        try:
            gathered = self._gather(items)
        finally:
            self._answer_last()
        return self._run(gathered)

    def _answer_last(self) -> None:
        """Answer those of the batch before, if they are not."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer()

    def _take_or_give(self) -> list[Waiting[Item]]:
        """What the whole engine runs next, empty if that is nothing: nobody waits, or the lanes have it."""
        self._lanes.load_for(self._schedule.depth)
        batch = self._take(1 if self._lanes.are_loading else sys.maxsize)
        return [] if self._lanes.give(batch) else batch

    def _take(self, most: int = sys.maxsize) -> list[Waiting[Item]]:
        """The next batch, empty if nobody waits; who is too late for any is told. With the lock held."""
        while True:
            batch, late = self._schedule.take(time.monotonic(), most)
            if late:
                self._on_loop(self._refuse, late)
            if batch or not late:
                return batch

    def _in_lane(self, run: Run, part: list[Waiting[Item]], lanes: int) -> None:
        """Run a part of a batch in one of so many lanes, and answer its callers."""
        self._attempt(run, part, lanes)()

    def _attempt(self, run: Run, batch: list[Waiting[Item]], lanes: int = 1) -> Callable[[], None]:
        """
        Run batch: what answers its callers. If it fails, its halves are next, so that one bad item fails alone.

        lanes: of as many such as share the engine, run is one.
        """
        started = time.monotonic()
        results = results_or_error(run, [waiting.item for waiting in batch])
        if isinstance(results, Exception):
            return self._failed(batch, results, lanes)
        seconds = time.monotonic() - started
        with self._changed:
            self._schedule.part_succeeded(batch, seconds, lanes)
        self.failures_in_a_row = 0
        return partial(self._on_loop, self._scatter, batch, results, started)

    def _failed(self, batch: list[Waiting[Item]], error: Exception, lanes: int) -> Callable[[], None]:
        """What tells whom the engine failed alone: nobody where halves are next."""
        with self._changed:
            alone = self._schedule.part_failed(batch, lanes, out_of_memory=isinstance(error, MemoryError))
            self.failures_in_a_row += alone is not None
        return partial(self._on_loop, self._set_error, alone, fault_of(error)) if alone is not None else _nobody

    def _on_loop(self, callback: Callable[..., object], *args: object) -> None:
        """Have callback run on the event loop, where futures live."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(callback, *args)

    def _scatter(self, batch: list[Waiting[Item]], results: Sequence[Result], started: float) -> None:
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.future.done():
                waiting.future.set_result((result, started - waiting.arrived, len(batch)))
        # In the turn after the next: in that one those who waited go on to their answers, which leave at its end.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._learn, [waiting.item for waiting in batch], results)

    def _learn(self, batch: Sequence[Item], results: Sequence[Result]) -> None:
        with self._changed:
            self._schedule.learn()
        self._observer.ran(batch, results)

    def _refuse(self, late: list[Waiting[Item]]) -> None:
        error = DeadlineExceeded("The deadline could not be met any more; nothing was run.")
        for waiting in late:
            if self._set_error(waiting, error):
                self._observer.cancelled("queue")

    def _set_error(self, waiting: Waiting[Item], error: Exception) -> bool:
        if waiting.future.done():
            return False
        waiting.future.set_exception(error)
        return True


def _nobody() -> None:
    """Is told."""
