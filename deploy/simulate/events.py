"""
A discrete-event simulation of one engine behind a batching policy: requests arrive, batches run, time jumps between.

Times are seconds since the start. Nothing sleeps, and the same seed gives the same run.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

MEGAPIXEL = 1_000_000


@dataclass(eq=False)
class Request:
    """One image on its way. outcome: answered, refused, expired, left or failed; None while it is inside."""

    arrives: float
    canvas: int
    deadline: float
    pixels: int = MEGAPIXEL  # padded
    high: bool = False
    bad: bool = False  # the engine fails on any batch that holds it
    leaves: float | None = None  # when its caller hangs up
    caller: str = ""
    outcome: str | None = None
    ended: float = 0.0
    started: float = 0.0
    batch_size: int = 0

    def end(self, outcome: str, now: float) -> None:
        """Raises AssertionError if it had ended already: no caller is answered twice."""
        assert self.outcome is None, f"answered twice: {self.outcome}, then {outcome}"
        self.outcome, self.ended = outcome, now


@dataclass(frozen=True)
class Engine:
    """A batch takes fixed_s and image_s for each of its images."""

    fixed_s: float
    image_s: float = 0.0

    def seconds(self, images: int) -> float:
        return self.fixed_s + self.image_s * images

    def capacity_hz(self, max_batch: int) -> float:
        """Images a second in full batches."""
        return max_batch / self.seconds(max_batch)


@dataclass(frozen=True)
class Step:
    """What a server does next: run groups one after the other (each of one canvas), or look again at wake_at."""

    groups: Sequence[list[Request]] = ()
    wake_at: float | None = None


class Server(Protocol):
    """A batching policy with its queue."""

    def arrive(self, request: Request, now: float) -> None: ...

    def gone(self, request: Request, now: float) -> None:
        """Its caller has hung up or run out of time."""

    def take(self, now: float) -> Step:
        """Asked whenever the engine is idle."""

    def ran(self, batch: Sequence[Request], now: float) -> None:
        """What take() gave has run well; or, in `failed`, has not."""

    def failed(self, batch: Sequence[Request], now: float) -> None: ...


@dataclass
class Simulation:
    """Runs server until nothing is left to happen. follow: called with each request that ended, gives those to come."""

    server: Server
    engine: Engine
    follow: Callable[[Request, float], Iterable[Request]] = lambda request, now: ()
    places: int | None = None  # requests inside at most; beyond it they are refused
    _inside: list[Request] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[Any, float], None], Any]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)
    _busy: bool = False
    _woken_at: float = -1.0

    def run(self, requests: Iterable[Request], until: float = float("inf")) -> None:
        for request in requests:
            self._at(request.arrives, self._arrive, request)
        while self._events and self._events[0][0] <= until:
            now, _, happen, what = heapq.heappop(self._events)
            happen(what, now)
            if not self._busy:
                self._go_on(self.server.take(now), now)

    def _at(self, moment: float, happen: Callable[[Any, float], None], what: Any = None) -> None:
        heapq.heappush(self._events, (moment, next(self._order), happen, what))

    def _arrive(self, request: Request, now: float) -> None:
        if self._full():
            request.end("refused", now)
        else:
            self.server.arrive(request, now)
        if request.outcome is None:
            self._inside.append(request)
            leaves = request.leaves if request.leaves is not None else float("inf")
            outcome = "left" if leaves < request.deadline else "expired"
            self._at(min(leaves, request.deadline), self._give_up, (request, outcome))
        else:
            self._follow(request, now)

    def _full(self) -> bool:
        if self.places is None or len(self._inside) < self.places:
            return False
        self._inside = [request for request in self._inside if request.outcome is None]
        return len(self._inside) >= self.places

    def _give_up(self, what: tuple[Request, str], now: float) -> None:
        request, outcome = what
        if request.outcome is None:
            request.end(outcome, now)
            self.server.gone(request, now)
            self._follow(request, now)

    def _go_on(self, step: Step, now: float) -> None:
        if step.groups:
            self._busy = True
            self._start(list(step.groups), now)
        elif step.wake_at is not None and step.wake_at != self._woken_at:
            self._woken_at = step.wake_at
            self._at(step.wake_at, lambda _, __: None)

    def _start(self, groups: list[list[Request]], now: float) -> None:
        for request in groups[0]:
            request.started, request.batch_size = now, len(groups[0])
        seconds = self.engine.seconds(len(groups[0]))
        self._at(now + seconds, self._done, groups)

    def _done(self, groups: list[list[Request]], now: float) -> None:
        batch = groups[0]
        if any(request.bad for request in batch):
            self.server.failed(batch, now)
        else:
            self.server.ran(batch, now)
            self._end(batch, "answered", now)
        if len(groups) > 1:
            self._start(groups[1:], now)
        else:
            self._busy = False

    def _end(self, batch: Sequence[Request], outcome: str, now: float) -> None:
        for request in batch:
            if request.outcome is None:
                request.end(outcome, now)
                self._follow(request, now)

    def _follow(self, request: Request, now: float) -> None:
        for following in self.follow(request, now):
            self._at(following.arrives, self._arrive, following)
