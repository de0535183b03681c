"""
Sends the traffic and times it.

Open loop (`drive_open`): every request leaves when it is due, whatever became of those before it, and its latency
counts from that moment. A server that stalls for a second is charged with the wait of everyone who arrived meanwhile.

Closed loop (`drive_closed`): a fixed number of callers, each waiting for its answer before asking again. It shows what
holds at a known concurrency, and says nothing about waiting: a slow server simply receives less.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import httpx

from loadtests.pictures import Picture
from loadtests.samples import Reply, Sample

IDLE_CONNECTION_S = 2.0
"""Idle connections are dropped sooner than common servers drop them (5 s), so that none is reused as it closes."""

WARM_TIMEOUT_S = 5.0

OnDone = Callable[[Sample], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go and what they ask for."""

    url: str
    """Scheme, host and port: http://127.0.0.1:8000"""
    model: str | None = None
    """The model asked for by name; None leaves the choice to the service."""
    options: Sequence[tuple[str, str]] = ()
    """Query options, such as ("masks", "rle")."""
    timeout_s: float = 30.0
    """How long a caller waits, counted from the moment its request is due, before it gives up."""
    deadline_ms: int | None = None
    """Sent as X-Request-Timeout-Ms, so that the service can refuse what it cannot answer in time."""

    @property
    def endpoint(self) -> str:
        base = self.url.rstrip("/")
        return f"{base}/v1/detect" if self.model is None else f"{base}/v1/models/{self.model}/detect"


class Clock(Protocol):
    """The run's own time, in seconds since it began."""

    def now_s(self) -> float: ...

    async def sleep_until(self, moment_s: float) -> None: ...


class RunningClock:
    """The real one: starts at zero when it is made."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def now_s(self) -> float:
        return time.monotonic() - self._start_s

    async def sleep_until(self, moment_s: float) -> None:
        await asyncio.sleep(max(0.0, moment_s - self.now_s()))


def _ignore(_: Sample) -> None:
    """The progress of those who do not want to hear of it."""


async def drive_open(
    target: Target,
    pictures: Sequence[Picture],
    arrivals_s: Sequence[float],
    *,
    clock: Clock | None = None,
    on_done: OnDone = _ignore,
) -> list[Sample]:
    """Send one picture at each arrival, waiting for no answer in between. Samples come back in the order of arrival."""
    async with _client() as client, asyncio.TaskGroup() as group:
        await _warm(client, target)
        clock = clock or RunningClock()
        tasks: list[asyncio.Task[Sample]] = []
        for picture, due_s in zip(pictures, arrivals_s, strict=True):
            await clock.sleep_until(due_s)
            tasks.append(group.create_task(_send(client, target, picture, due_s, clock, on_done)))
    return [task.result() for task in tasks]


async def drive_closed(
    target: Target,
    pictures: Sequence[Picture],
    concurrency: int,
    *,
    clock: Clock | None = None,
    on_done: OnDone = _ignore,
) -> list[Sample]:
    """Send every picture once, `concurrency` at a time. Samples come back in the order of completion."""
    waiting = iter(pictures)
    samples: list[Sample] = []

    async def call_in_turn(client: httpx.AsyncClient, clock: Clock) -> None:
        for picture in waiting:  # shared by all callers: each takes the next picture when it is free
            samples.append(await _send(client, target, picture, clock.now_s(), clock, on_done))

    async with _client() as client, asyncio.TaskGroup() as group:
        await _warm(client, target)
        clock = clock or RunningClock()
        for _ in range(concurrency):
            group.create_task(call_in_turn(client, clock))
    return samples


def _client() -> httpx.AsyncClient:
    """No limit on connections (a limit would be a hidden queue), and no proxy between us and what is measured."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_CONNECTION_S)
    return httpx.AsyncClient(limits=limits, timeout=None, trust_env=False)


async def _warm(client: httpx.AsyncClient, target: Target) -> None:
    """One request before the clock starts: a client's first one imports what it needs, and that is not server time."""
    try:
        await client.get(f"{target.url.rstrip('/')}/readyz", timeout=WARM_TIMEOUT_S)
    except httpx.HTTPError:
        pass  # whatever is wrong shows in the run itself


async def _send(
    client: httpx.AsyncClient, target: Target, picture: Picture, due_s: float, clock: Clock, on_done: OnDone
) -> Sample:
    sent_s = clock.now_s()
    answer = await _post(client, target, picture, patience_s=due_s + target.timeout_s - sent_s)
    done_s = clock.now_s()  # before the answer is parsed: reading it is not the server's time
    reply = answer if isinstance(answer, Reply) else _read(answer, picture)
    sample = Sample(picture.name, due_s, sent_s, done_s, reply)
    on_done(sample)
    return sample


async def _post(
    client: httpx.AsyncClient, target: Target, picture: Picture, patience_s: float
) -> httpx.Response | Reply:
    headers = {"Content-Type": picture.content_type, "Accept": "application/json"}
    if target.deadline_ms is not None:
        headers["X-Request-Timeout-Ms"] = str(target.deadline_ms)
    try:
        async with asyncio.timeout(patience_s):
            params = httpx.QueryParams(tuple(target.options))
            return await client.post(target.endpoint, params=params, content=picture.body, headers=headers)
    except TimeoutError:
        return Reply(failure="timeout")
    except httpx.ConnectError:
        return Reply(failure="no connection")
    except httpx.HTTPError:
        return Reply(failure="connection lost")


def _read(response: httpx.Response, picture: Picture) -> Reply:
    """The parts of an answer that are measured; a 200 is held to its contract."""
    status, request_id = response.status_code, response.headers.get("X-Request-Id")
    if status != 200:
        return Reply(status, retry_after_s=_retry_after_s(response), request_id=request_id)
    try:
        answer = response.json()
        answered_wh = (answer["image"]["width"], answer["image"]["height"])
        timings_ms = {stage: float(spent_ms) for stage, spent_ms in answer["timings_ms"].items()}
        is_whole = isinstance(answer["detections"], list)
    except (ValueError, TypeError, KeyError, AttributeError):
        is_whole = False
    if not is_whole:
        return Reply(status, failure="malformed answer", request_id=request_id)
    if picture.upright_wh is not None and answered_wh != picture.upright_wh:
        return Reply(status, failure="wrong image", request_id=request_id)
    return Reply(status, timings_ms=timings_ms, request_id=request_id)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds; None where the header is missing or is a date, which this service never sends."""
    headers = cast("Mapping[str, str]", response.headers)
    try:
        return float(headers.get("Retry-After", ""))
    except ValueError:
        return None
