"""The engine is handed its next batch before the callers of the last are answered, and nobody is forgotten for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from service.batching import Batcher, Budget
from service.errors import EngineFailed
from tests.patience import until
from tests.unit.service.batching.test_batcher import Counting, ask

Asked = asyncio.Task[tuple[int, float, int]]


class Engine:
    """Takes tuples, doubles the numbers in them; gathering fails on negative ones, and each step can be held."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, list[int]]] = []
        self.may_gather, self.may_run = threading.Event(), threading.Event()
        self.may_gather.set()

    def gather(self, items: Sequence[int]) -> tuple[int, ...]:
        self.steps.append(("gather", list(items)))
        assert self.may_gather.wait(10)
        if min(items) < 0:
            raise ValueError("a negative number")
        return tuple(items)

    def run(self, gathered: tuple[int, ...]) -> list[int]:
        assert isinstance(gathered, tuple)
        self.steps.append(("run", list(gathered)))
        assert self.may_run.wait(10)
        return [2 * number for number in gathered]


@asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[Batcher[int, int]]:
    with ThreadPoolExecutor(1) as thread:
        batcher = Batcher[int, int](engine.run, thread, Budget(8, 1000), Counting(), gather=engine.gather)
        batcher.start()
        try:
            yield batcher
        finally:
            engine.may_gather.set()
            engine.may_run.set()
            await batcher.close()


async def one_inside(batcher: Batcher[int, int], engine: Engine, then: Sequence[int]) -> list[Asked]:
    """Ask for 1, which stays in the engine, and for those that wait behind it."""
    asked = [ask(batcher, 1)]
    await until(lambda: ("run", [1]) in engine.steps)
    asked += [ask(batcher, number) for number in then]
    await until(lambda: batcher.depth == len(then))
    return asked


async def test_the_next_batch_is_gathered_before_the_last_is_answered() -> None:
    """Answers keep the event loop busy, and the engine would wait for what it needs of the interpreter meanwhile."""
    engine = Engine()
    async with started(engine) as batcher:
        first, second = await one_inside(batcher, engine, then=[2])
        engine.may_gather.clear()
        engine.may_run.set()
        await until(lambda: ("gather", [2]) in engine.steps)
        await asyncio.sleep(0.05)
        assert not first.done()
        engine.may_run.clear()
        engine.may_gather.set()
        assert (await first)[0] == 2
        assert not second.done()
        engine.may_run.set()
        assert (await second)[0] == 4


async def test_an_answer_waits_for_nobody_where_nobody_waits() -> None:
    """A lone caller is answered though no batch comes after its own."""
    engine = Engine()
    engine.may_run.set()
    async with started(engine) as batcher:
        assert (await asyncio.wait_for(ask(batcher, 3), 10))[0] == 6


async def test_who_left_the_queue_holds_up_no_answer() -> None:
    """The one who waited behind it leaves before its turn: nothing is gathered any more, and the first is answered."""
    engine = Engine()
    async with started(engine) as batcher:
        first, second = await one_inside(batcher, engine, then=[2])
        second.cancel()
        await until(lambda: batcher.depth == 0)
        engine.may_run.set()
        assert (await asyncio.wait_for(first, 10))[0] == 2
    assert ("gather", [2]) not in engine.steps


async def test_a_batch_that_cannot_be_gathered_fails_alone() -> None:
    """Those before it get their answers, those in it by halves theirs: only the one to blame hears of it."""
    engine = Engine()
    async with started(engine) as batcher:
        first, good, bad = await one_inside(batcher, engine, then=[2, -1])
        engine.may_run.set()
        assert [(await task)[0] for task in (first, good)] == [2, 4]
        with pytest.raises(EngineFailed, match="a negative number"):
            await bad


async def test_closing_answers_everybody() -> None:
    """What was gathered early is answered before the thread ends."""
    engine = Engine()
    async with started(engine) as batcher:
        asked = await one_inside(batcher, engine, then=range(2, 20))
        closing = asyncio.create_task(batcher.close())
        engine.may_run.set()
        await closing
        assert [(await task)[0] for task in asked] == [2 * number for number in range(1, 20)]
