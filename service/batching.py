"""
Admit, gather, run, scatter. Knows neither images nor ONNX.

One queue per shape, because only equal shapes can share a batch. The policy is in `_gather`, the loop in `_work`:
the queue whose head has waited longest goes next (no shape starves), as full as the budget allows, at once (an idle
engine never waits on a timer). While the engine runs, the next batch grows by itself.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from service.errors import DeadlineExceeded, EngineFailed, NotReady, Overloaded, ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")

_COST_MEMORY = 0.9  # weight of the past in the running mean of seconds per padded pixel


class BatchObserver(Protocol):
    """Told what happens inside, as plain numbers."""

    def cancelled(self, stage: str) -> None: ...
    def queue_changed(self, depth: int, work_s: float) -> None: ...


@dataclass
class _Waiting(Generic[Item, Result]):
    item: Item
    pixels: int
    deadline: float  # seconds of time.monotonic()
    arrived: float
    future: "asyncio.Future[tuple[Result, float, int]]"


@dataclass(frozen=True)
class Budget:
    """What one batch may hold. A single item over the pixel budget still runs, alone."""

    max_items: int
    max_pixels: int


@dataclass
class CostModel:
    """Seconds of engine work per padded pixel, learned from the batches that ran; None until the first."""

    seconds_per_pixel: float | None = field(default=None)

    def learn(self, pixels: int, seconds: float) -> None:
        fresh = seconds / max(pixels, 1)
        old = self.seconds_per_pixel
        self.seconds_per_pixel = fresh if old is None else _COST_MEMORY * old + (1 - _COST_MEMORY) * fresh

    def predict_s(self, pixels: int) -> float:
        return (self.seconds_per_pixel or 0.0) * pixels


class Batcher(Generic[Item, Result]):
    """Runs items in batches of equal shape, one at a time; each caller is answered exactly once with its own result."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        executor: Executor,
        budget: Budget,
        observer: BatchObserver,
    ) -> None:
        self._run, self._executor, self._budget, self._observer = run, executor, budget, observer
        self._queues: OrderedDict[Hashable, deque[_Waiting[Item, Result]]] = OrderedDict()
        self._cost = CostModel()
        self._running_pixels = 0
        self._running_since = 0.0
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to run batches. Needs a running event loop."""
        self._task = asyncio.create_task(self._work(), name="batcher")

    async def close(self) -> None:
        """Finish what was accepted, then stop."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    @property
    def depth(self) -> int:
        """Items waiting."""
        return sum(map(len, self._queues.values()))

    def queued_work_s(self) -> float:
        """Predicted seconds until everything now inside has run."""
        waiting = sum(w.pixels for queue in self._queues.values() for w in queue)
        running = self._cost.predict_s(self._running_pixels) - (time.monotonic() - self._running_since)
        return self._cost.predict_s(waiting) + (max(running, 0.0) if self._running_pixels else 0.0)

    def admit(self, pixels: int, deadline: float) -> None:
        """Raises Overloaded at once if pixels of new work cannot be done by deadline (time.monotonic() seconds)."""
        if not self._running_pixels and not self._queues:
            return  # an idle engine always tries: only what runs can correct a prediction that was too dark
        wait_s = self.queued_work_s()
        if time.monotonic() + wait_s + self._cost.predict_s(pixels) > deadline:
            late_s = time.monotonic() + wait_s + self._cost.predict_s(pixels) - deadline
            raise Overloaded(
                f"{wait_s:.2f} s of work is waiting, too much to answer before the deadline.", late_s, "deadline"
            )

    async def submit(self, item: Item, shape: Hashable, pixels: int, deadline: float) -> tuple[Result, float, int]:
        """
        Wait for item's result: (result, seconds waited in the queue, items in its batch).

        Raises Overloaded, DeadlineExceeded, NotReady or EngineFailed. A cancelled caller leaves its batch-mates alone.
        """
        if self._closing:
            raise NotReady("The model is being unloaded.")
        self.admit(pixels, deadline)
        waiting = _Waiting[Item, Result](
            item, pixels, deadline, time.monotonic(), asyncio.get_running_loop().create_future()
        )
        self._queues.setdefault(shape, deque()).append(waiting)
        self._arrived.set()
        self._tell()
        try:
            async with asyncio.timeout_at(deadline):  # the event loop's clock is time.monotonic()
                return await waiting.future
        except TimeoutError:
            raise DeadlineExceeded("The deadline passed before the answer was ready.") from None

    async def _work(self) -> None:
        while True:
            batch = self._gather()
            if batch:
                await self._run_and_scatter(batch)
            elif self._closing:
                return
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _gather(self) -> list[_Waiting[Item, Result]]:
        """The next batch: from the queue whose head is oldest, without those who left or are too late."""
        self._drop_the_gone()
        if not self._queues:
            return []
        shape = min(self._queues, key=lambda key: self._queues[key][0].arrived)
        queue, batch, pixels = self._queues[shape], list[_Waiting[Item, Result]](), 0
        while queue and len(batch) < self._budget.max_items:
            if batch and pixels + queue[0].pixels > self._budget.max_pixels:
                break
            batch.append(queue.popleft())
            pixels += batch[-1].pixels
        if not queue:
            del self._queues[shape]
        self._tell()
        return batch

    def _drop_the_gone(self) -> None:
        for shape in list(self._queues):
            staying = deque(waiting for waiting in self._queues[shape] if not waiting.future.done())
            for _ in range(len(self._queues[shape]) - len(staying)):
                self._observer.cancelled("queue")
            if staying:
                self._queues[shape] = staying
            else:
                del self._queues[shape]

    async def _run_and_scatter(self, batch: list[_Waiting[Item, Result]]) -> None:
        """Run batch and answer each caller; if it fails, run its halves, so that one bad item fails alone."""
        pixels = sum(waiting.pixels for waiting in batch)
        started = self._running_since = time.monotonic()
        self._running_pixels = pixels
        try:
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._executor, self._run, [waiting.item for waiting in batch])
            if len(results) != len(batch):
                raise EngineFailed(f"{len(batch)} items went in, {len(results)} results came out. This is a bug.")
        except Exception as error:
            await self._retry_in_halves(batch, error)
            return
        finally:
            self._running_pixels = 0
        self._cost.learn(pixels, time.monotonic() - started)
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.future.done():
                waiting.future.set_result((result, started - waiting.arrived, len(batch)))
            else:
                self._observer.cancelled("engine")
        self._tell()

    async def _retry_in_halves(self, batch: list[_Waiting[Item, Result]], error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._run_and_scatter(batch[:middle])
            await self._run_and_scatter(batch[middle:])
        elif not batch[0].future.done():
            fault = (
                error if isinstance(error, ServiceError) else EngineFailed(f"The engine failed on this image: {error}")
            )
            batch[0].future.set_exception(fault)

    def _tell(self) -> None:
        self._observer.queue_changed(self.depth, self.queued_work_s())
