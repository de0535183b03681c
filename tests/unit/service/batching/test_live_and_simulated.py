"""The simulator against the real thing: the live batcher around an engine that sleeps, under the same traffic."""

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.simulate.events import MEGAPIXEL, Engine, Request
from deploy.simulate.loads import closed_loop, open_loop, poisson
from deploy.simulate.servers import Ours
from service.batching import Batcher, Budget
from service.errors import DeadlineExceeded, Overloaded

ENGINE, MAX_BATCH = Engine(0.03, 0.004), 8
SECONDS, CLIENTS, ROUNDS = 4.0, 24, 3


class Deaf:
    def cancelled(self, stage: str) -> None: ...
    def ran(self, batch: Sequence[object], results: Sequence[object]) -> None: ...


def sleep(batch: Sequence[int]) -> Sequence[int]:
    time.sleep(ENGINE.seconds(len(batch)))
    return batch


async def live_open_hz(requests: list[Request]) -> float:
    """Answers a second, after the first tenth of the time."""
    answered = 0

    async def call(batcher: Batcher[int, int], request: Request, start: float) -> None:
        nonlocal answered
        try:
            with batcher.admit(start + request.deadline) as ticket:
                await batcher.submit(ticket, 0, request.canvas, MEGAPIXEL)
        except (Overloaded, DeadlineExceeded):
            return
        answered += request.arrives >= SECONDS / 10

    with ThreadPoolExecutor(1) as threads:
        batcher = Batcher(sleep, threads, Budget(MAX_BATCH, MAX_BATCH * MEGAPIXEL), Deaf())
        batcher.start()
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for request in requests:
                await asyncio.sleep(start + request.arrives - time.monotonic())
                group.create_task(call(batcher, request, start))
        await batcher.close()
    return answered / (SECONDS * 0.9)


async def live_closed_hz(canvases: int) -> float:
    """Answers a second; every caller asks for canvases at random, as in the simulation."""
    answered, chance = 0, random.Random(0)

    async def client(batcher: Batcher[int, int], until: float) -> None:
        nonlocal answered
        while time.monotonic() < until:
            with batcher.admit(until + 60) as ticket:
                await batcher.submit(ticket, 0, chance.randrange(canvases), MEGAPIXEL)
            answered += 1

    with ThreadPoolExecutor(1) as threads:
        batcher = Batcher(sleep, threads, Budget(MAX_BATCH, MAX_BATCH * MEGAPIXEL), Deaf())
        batcher.start()
        start = time.monotonic()
        await asyncio.gather(*(client(batcher, start + SECONDS) for _ in range(CLIENTS)))
        await batcher.close()
        return answered / (time.monotonic() - start)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("canvases", [1, 4])
def test_closed_loop_throughput_agrees(canvases: int) -> None:
    """24 callers: the median of three live runs is within 10 % of the simulated one."""
    live_hz = statistics.median(asyncio.run(live_closed_hz(canvases)) for _ in range(ROUNDS))
    simulated = closed_loop(Ours(MAX_BATCH), ENGINE, canvases, CLIENTS, SECONDS)
    assert live_hz == pytest.approx(simulated.answered_hz, rel=0.1)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("load", [0.5, 1.5])
def test_open_loop_goodput_agrees(load: float) -> None:
    """Poisson arrivals below and above capacity: the median of three live runs is within 10 % of the simulated one."""
    rate_hz = load * ENGINE.capacity_hz(MAX_BATCH)
    simulated = [
        open_loop(Ours(MAX_BATCH), ENGINE, poisson(rate_hz, 4, SECONDS, 1.0, seed), SECONDS).answered_hz
        for seed in range(ROUNDS)
    ]
    live = [asyncio.run(live_open_hz(poisson(rate_hz, 4, SECONDS, 1.0, seed))) for seed in range(ROUNDS)]
    assert statistics.median(live) == pytest.approx(statistics.median(simulated), rel=0.1)
