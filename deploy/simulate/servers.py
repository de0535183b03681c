"""
The policies compared.

Ours drives the very `service.batching.schedule.Schedule` that serves. The other two are models of published behaviour:

- `FifoCut`: one first-come queue; a batch is cut at the first request of another shape, and goes as soon as the engine
  is free. Triton's dynamic batcher (triton-inference-server/core, src/dynamic_batch_scheduler.cc, GetDynamicBatch).
- `TimerWindow`: from the moment the engine is free, collect for a fixed window or until the batch is full, then run
  what came, one engine call for each shape in it. LitServe (src/litserve/loops/base.py, collate_requests), with code
  that loops over shapes: stacking unequal ones fails.
"""

from collections import deque
from collections.abc import Sequence

from deploy.simulate.events import MEGAPIXEL, Request, Step
from service.batching import Budget, Ticket
from service.batching.queue import Waiting
from service.batching.schedule import Schedule
from service.errors import Overloaded


class Ours:
    """The scheduler of the service."""

    def __init__(self, max_batch: int, max_pixels: int | None = None) -> None:
        self.schedule = Schedule[Request](Budget(max_batch, max_pixels or max_batch * MEGAPIXEL))
        self._inside: dict[Request, tuple[Ticket, Waiting[Request]]] = {}

    def arrive(self, request: Request, now: float) -> None:
        try:
            ticket = self.schedule.admit(now, request.deadline, high=request.high, caller=request.caller)
        except Overloaded:
            request.end("refused", now)
            return
        waiting = Waiting(request, request.canvas, request.pixels, request.deadline, now, request.high)
        self._inside[request] = ticket, waiting
        self.schedule.add(ticket, waiting)

    def gone(self, request: Request, now: float) -> None:
        ticket, waiting = self._inside.pop(request)
        self.schedule.leave(waiting)
        self.schedule.settle(ticket, now)

    def take(self, now: float) -> Step:
        batch, late = self.schedule.take(now)
        for waiting in late:
            waiting.item.end("expired", now)
            self._settle(waiting.item, now)
        return Step([[waiting.item for waiting in batch]] if batch else ())

    def ran(self, batch: Sequence[Request], now: float) -> None:
        self.schedule.succeeded(now)
        for request in batch:
            if request.outcome is None:
                self._inside[request][0].queued_s = now - request.arrives
                self._settle(request, now)

    def failed(self, batch: Sequence[Request], now: float) -> None:
        alone = self.schedule.failed()
        if alone is not None and alone.item.outcome is None:
            alone.item.end("failed", now)
            self._settle(alone.item, now)

    def _settle(self, request: Request, now: float) -> None:
        ticket, _ = self._inside.pop(request)
        self.schedule.settle(ticket, now)


class _Fifo:
    """What the other two share: one queue, callers who left are run all the same, failures fail the batch."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._queue: deque[Request] = deque()

    def arrive(self, request: Request, now: float) -> None:
        self._queue.append(request)

    def gone(self, request: Request, now: float) -> None:
        """Its answer is thrown away."""

    def ran(self, batch: Sequence[Request], now: float) -> None:
        """Nothing is learned."""

    def failed(self, batch: Sequence[Request], now: float) -> None:
        for request in batch:
            if request.outcome is None:
                request.end("failed", now)


class FifoCut(_Fifo):
    """Oldest first, cut at a shape change, work-conserving."""

    def take(self, now: float) -> Step:
        batch: list[Request] = []
        while self._queue and len(batch) < self._max_batch:
            if batch and self._queue[0].canvas != batch[0].canvas:
                break
            batch.append(self._queue.popleft())
        return Step([batch] if batch else ())


class TimerWindow(_Fifo):
    """Oldest first, whatever the shape, collected for window_s from the moment the engine is free."""

    def __init__(self, max_batch: int, window_s: float = 0.01) -> None:
        super().__init__(max_batch)
        self._window_s = window_s
        self._opened: float | None = None

    def take(self, now: float) -> Step:
        if not self._queue:
            self._opened = None
            return Step()
        self._opened = now if self._opened is None else self._opened
        if len(self._queue) < self._max_batch and now < self._opened + self._window_s:
            return Step(wake_at=self._opened + self._window_s)
        self._opened = None
        groups: dict[int, list[Request]] = {}
        for _ in range(min(self._max_batch, len(self._queue))):
            request = self._queue.popleft()
            groups.setdefault(request.canvas, []).append(request)
        return Step(list(groups.values()))
