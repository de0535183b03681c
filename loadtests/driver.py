"""
Sends the traffic and times it.

Open loop (`drive_open`): every request leaves when it is due, whatever became of those before it, and its latency
counts from that moment. A server that stalls for a second is charged with the wait of everyone who arrived meanwhile.

Closed loop (`drive_closed`): a fixed number of callers, each waiting for its answer before asking again. It shows what
holds at a known concurrency, and says nothing about waiting: a slow server simply receives less.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import orjson

from loadtests.pictures import Picture
from loadtests.samples import Reply, Sample
from loadtests.wire import Client, ConnectionLost, NoConnection, Response, Trickle

WARM_TIMEOUT_S = 5.0

OnDone = Callable[[Sample], None]


def own_answer(response: Response) -> Any:
    """The answer as rcnn sends it: the body is the JSON. Raises ValueError."""
    return orjson.loads(response.body)


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
    headers: Sequence[tuple[str, str]] = ()
    """Sent as they are, such as ("X-Request-Priority", "high"); a Host takes the place of the URL's."""
    trickle: Trickle | None = None
    """How a slow caller sends its body; None sends it at once."""
    door: str | None = None
    """The path asked where the server is another than rcnn; None: rcnn's own, by model."""
    unwrap: Callable[[Response], Any] = own_answer
    """The answer out of what a 200 brought; raises what reading strange JSON raises."""

    @property
    def endpoint(self) -> str:
        return self.url.rstrip("/") + self.path

    @property
    def path(self) -> str:
        if self.door is not None:
            return self.door
        return "/v1/detect" if self.model is None else f"/v1/models/{self.model}/detect"

    @property
    def path_and_query(self) -> str:
        path = urlsplit(self.endpoint).path
        return f"{path}?{urlencode(tuple(self.options))}" if self.options else path

    def request_headers(self, picture: Picture) -> list[tuple[str, str]]:
        headers = [("Content-Type", picture.content_type), ("Accept", "application/json"), *self.headers]
        if self.deadline_ms is not None:
            headers.append(("X-Request-Timeout-Ms", str(self.deadline_ms)))
        return headers


@dataclass(frozen=True, slots=True)
class Order:
    """One request to be made: what, of whom, and when it is due (open loop; a closed loop sends when it can)."""

    picture: Picture
    target: Target
    due_s: float = 0.0
    kind: str = ""


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
        wait_s = moment_s - self.now_s()
        if wait_s > 0:  # when late, send everything that is due before yielding
            await asyncio.sleep(wait_s)


def _ignore(_: Sample) -> None:
    """The progress of those who do not want to hear of it."""


async def drive_open(orders: Iterable[Order], *, clock: Clock | None = None, on_done: OnDone = _ignore) -> list[Sample]:
    """
    Send each order when it is due, waiting for no answer in between. Samples come back in the order of orders.

    The next order is asked for when the one before has been sent, so that whoever makes them may end when it likes.
    """
    upcoming = iter(orders)
    first = next(upcoming)
    async with _warm_client(first.target) as client, asyncio.TaskGroup() as group:
        clock = clock or RunningClock()
        tasks: list[asyncio.Task[Sample]] = []
        for order in chain([first], upcoming):
            await clock.sleep_until(order.due_s)
            tasks.append(group.create_task(_send(client, order, order.due_s, clock, on_done)))
    return [task.result() for task in tasks]


async def drive_closed(
    orders: Sequence[Order], concurrency: int, *, clock: Clock | None = None, on_done: OnDone = _ignore
) -> list[Sample]:
    """Send every order once, `concurrency` at a time. Samples come back in the order of completion."""
    waiting = iter(orders)
    samples: list[Sample] = []

    async def call_in_turn(client: Client, clock: Clock) -> None:
        for order in waiting:  # shared by all callers: each takes the next one when it is free
            samples.append(await _send(client, order, None, clock, on_done))

    async with _warm_client(orders[0].target) as client, asyncio.TaskGroup() as group:
        clock = clock or RunningClock()
        for _ in range(concurrency):
            group.create_task(call_in_turn(client, clock))
    return samples


@asynccontextmanager
async def _warm_client(target: Target) -> AsyncIterator[Client]:
    """A client for the one server all orders go to, used once before the clock starts."""
    async with Client(target.url) as client:
        try:
            async with asyncio.timeout(WARM_TIMEOUT_S):
                await client.send(client.head("GET", "/readyz", target.headers, 0))
        except (NoConnection, ConnectionLost, TimeoutError):
            pass  # whatever is wrong shows in the run itself
        yield client


async def _send(client: Client, order: Order, due_s: float | None, clock: Clock, on_done: OnDone) -> Sample:
    """due_s: None where it is due once it is written down, which is not the server's time, as reading is not."""
    picture, target = order.picture, order.target
    head = client.head("POST", target.path_and_query, target.request_headers(picture), len(picture.body))
    sent_s = clock.now_s()
    due_s = sent_s if due_s is None else due_s
    answer = await _post(client, head, order, clock, patience_s=due_s + target.timeout_s - sent_s)
    done_s = answer.arrived_s if isinstance(answer, Response) else clock.now_s()
    reply = answer if isinstance(answer, Reply) else _read(answer, picture, target.unwrap)
    sample = Sample(order.picture.name, due_s, sent_s, done_s, reply, order.kind)
    on_done(sample)
    return sample


async def _post(client: Client, head: bytes, order: Order, clock: Clock, patience_s: float) -> Response | Reply:
    try:
        async with asyncio.timeout(patience_s):
            return await client.send(head, order.picture.body, order.target.trickle, clock.now_s)
    except TimeoutError:
        return Reply(failure="timeout")
    except NoConnection:
        return Reply(failure="no connection")
    except ConnectionLost:
        return Reply(failure="connection lost")


def _read(response: Response, picture: Picture, unwrap: Callable[[Response], Any]) -> Reply:
    """The parts of an answer that are measured; a 200 is held to its contract."""
    status, request_id = response.status, response.headers.get("x-request-id")
    release = response.headers.get("x-release")
    if status != 200:
        return Reply(status, retry_after_s=_retry_after_s(response), request_id=request_id, release=release)
    try:
        answer = unwrap(response)
        answered_wh = (answer["image"]["width"], answer["image"]["height"])
        timings_ms = {stage: float(spent_ms) for stage, spent_ms in answer["timings_ms"].items()}
        detections = answer["detections"]
        is_whole = isinstance(detections, list)
    except (ValueError, TypeError, LookupError, AttributeError):
        is_whole = False
    if not is_whole:
        return Reply(status, failure="malformed answer", request_id=request_id, release=release)
    if picture.upright_wh is not None and answered_wh != picture.upright_wh:
        return Reply(status, failure="wrong image", request_id=request_id, release=release)
    digest = hashlib.blake2b(orjson.dumps(detections), digest_size=8).hexdigest()
    is_from_cache = response.headers.get("x-cache", "").lower() == "hit"
    return Reply(status, None, timings_ms, None, request_id, digest, is_from_cache, release)


def _retry_after_s(response: Response) -> float | None:
    """Seconds; None where the header is missing or is a date, which this service never sends."""
    try:
        return float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
