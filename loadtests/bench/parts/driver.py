"""What the driver itself can do, against a server that does nothing: no other figure here can be better than this."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import uvloop

from loadtests.bench.figures import Figure, Plan, Result
from loadtests.driver import Order, Target, drive_closed
from loadtests.pictures import Picture, read_pictures, resize_to
from loadtests.serving import serving_nothing

TITLE = "driver: its own ceiling, against a server that does nothing"
REQUESTS, HTTPX_REQUESTS = 6000, 300


@dataclass(frozen=True, slots=True)
class Cost:
    rate_per_s: float
    cpu_us: float
    """Processor time of this process, per request."""


def measure(plan: Plan) -> Result:
    """The driver as every scenario uses it, answers parsed and checked; and httpx sending the same, unparsed."""
    (picture,) = resize_to(read_pictures(None)[:1], [(64, 64)])
    with serving_nothing() as url:
        ours = _cost(lambda: _drive(url, picture, plan.clients), REQUESTS)
        others = _cost(lambda: _drive_httpx(url, picture, plan.clients), HTTPX_REQUESTS)
    return Result(
        [
            Figure("ceiling", ours.rate_per_s, "requests/s"),
            Figure("processor time a request", ours.cpu_us, "us"),
            Figure("processor time a request with httpx", others.cpu_us, "us"),
            Figure(
                "ceiling / what is offered in an overload of the engine", ours.rate_per_s / (3 * plan.engine_rate_per_s)
            ),
        ]
    )


def _cost(work: Callable[[], Awaitable[None]], requests: int) -> Cost:
    async def run() -> None:
        await work()

    wall_s, cpu_s = time.perf_counter(), time.process_time()
    uvloop.run(run())
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return Cost(requests / wall_s, cpu_s / requests * 1e6)


async def _drive(url: str, picture: Picture, clients: int) -> None:
    samples = await drive_closed([Order(picture, Target(url))] * REQUESTS, clients)
    assert all(sample.is_ok for sample in samples)


async def _drive_httpx(url: str, picture: Picture, clients: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    waiting = iter(range(HTTPX_REQUESTS))

    async def call_in_turn(client: httpx.AsyncClient) -> None:
        for _ in waiting:
            await client.post(f"{url}/v1/detect", content=picture.body, headers={"Content-Type": picture.content_type})

    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=None) as client, asyncio.TaskGroup() as group:  # nosec B113  # overload must be waited out
        for _ in range(clients):
            group.create_task(call_in_turn(client))
