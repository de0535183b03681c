"""Lanes run parts of a batch side by side; callers notice nothing but that it is quicker."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching import Batcher, Budget
from service.errors import EngineFailed
from tests.patience import until
from tests.unit.service.batching.test_batcher import Counting, ask, assert_own_answers

WHOLE, LANES = "whole", ("lane 0", "lane 1")
Run = Callable[[Sequence[int]], Sequence[int]]


class Machine:
    """A whole engine and its two lanes, which double numbers, fail on negative ones, and can be held."""

    def __init__(self, *, lanes: int = 2) -> None:
        self.ran: list[tuple[str, list[int]]] = []
        self.inside: dict[str, list[int]] = {}  # what runs now, by who runs it
        self.loads = 0
        self._stops: dict[int, threading.Event] = {}
        self._lanes = LANES[:lanes]
        self._may_go = {name: threading.Event() for name in (WHOLE, *LANES)}
        self.may_load = threading.Event()
        for event in (*self._may_go.values(), self.may_load):
            event.set()

    def hold(self, *names: str) -> None:
        for name in names:
            self._may_go[name].clear()

    def let_go(self, *names: str) -> None:
        for name in names:
            self._may_go[name].set()

    def stop_at(self, number: int) -> threading.Event:
        """Whoever runs number waits for what is returned."""
        return self._stops.setdefault(number, threading.Event())

    def runner(self, name: str) -> Run:
        def run(batch: Sequence[int]) -> list[int]:
            self.inside[name] = list(batch)
            assert self._may_go[name].wait(10)
            assert all(self._stops[number].wait(10) for number in batch if number in self._stops)
            del self.inside[name]
            self.ran.append((name, list(batch)))
            if any(number < 0 for number in batch):
                raise ValueError("a negative number")
            return [2 * number for number in batch]

        return run

    def load_lanes(self) -> list[Run]:
        self.loads += 1
        assert self.may_load.wait(10)
        return [self.runner(name) for name in self._lanes]


@asynccontextmanager
async def started(machine: Machine, *, warm: bool = True) -> AsyncIterator[Batcher[int, int]]:
    """A batcher in front of machine; warm: with its lanes loaded, and nothing noted of what led to that."""
    with ThreadPoolExecutor(4) as threads:
        batcher = Batcher[int, int](machine.runner(WHOLE), threads, Budget(8, 1000), Counting(), machine.load_lanes)
        batcher.start()
        try:
            while warm and not any(name in LANES for name, _ in machine.ran):
                await asyncio.gather(*(ask(batcher, number) for number in range(4)))
            await until(lambda: batcher.running_s() == 0)  # a lane is free a moment after its last answer
            machine.ran.clear()
            yield batcher
        finally:
            machine.may_load.set()
            machine.let_go(WHOLE, *LANES)
            await batcher.close()


async def both_busy(batcher: Batcher[int, int], machine: Machine) -> "list[asyncio.Task[tuple[int, float, int]]]":
    """Two callers, each in a lane that is held."""
    machine.hold(WHOLE, *LANES)
    first = ask(batcher, 0)
    await until(lambda: WHOLE in machine.inside)
    waiting = [ask(batcher, number) for number in (1, 2)]
    await until(lambda: batcher.depth == 2)
    machine.let_go(WHOLE)
    await until(lambda: set(machine.inside) == set(LANES))
    return [first, *waiting]


async def test_who_waits_together_runs_side_by_side() -> None:
    """Of five who queued behind one, three are in one lane and two in the other, at once."""
    machine = Machine()
    async with started(machine) as batcher:
        machine.hold(WHOLE, *LANES)
        first = ask(batcher, 0)
        await until(lambda: WHOLE in machine.inside)
        others = [ask(batcher, number) for number in range(1, 6)]
        await until(lambda: batcher.depth == 5)
        machine.let_go(WHOLE)
        await until(lambda: set(machine.inside) == set(LANES))
        assert sorted(machine.inside.values()) == [[1, 2, 3], [4, 5]]
        machine.let_go(*LANES)
        assert [(await task)[0] for task in (first, *others)] == [0, 2, 4, 6, 8, 10]


async def test_one_image_alone_has_the_whole_engine() -> None:
    """With both lanes at rest."""
    machine = Machine()
    async with started(machine) as batcher:
        for number in range(3):
            assert (await ask(batcher, number))[0] == 2 * number
    assert machine.ran == [(WHOLE, [0]), (WHOLE, [1]), (WHOLE, [2])]


async def test_a_free_lane_takes_who_comes_while_the_other_is_busy() -> None:
    """The whole engine would share the cores that the busy one computes on."""
    machine = Machine()
    async with started(machine) as batcher:
        busy = await both_busy(batcher, machine)
        machine.let_go(LANES[1])
        await until(lambda: set(machine.inside) == {LANES[0]})
        assert (await asyncio.wait_for(ask(batcher, 7), 10))[0] == 14
        assert machine.ran[-1] == (LANES[1], [7]) and LANES[0] in machine.inside
        machine.let_go(LANES[0])
        await asyncio.gather(*busy)


async def test_a_part_does_not_wait_for_the_other() -> None:
    """The caller in the quick lane has an answer while the slow one is still computing."""
    machine = Machine()
    async with started(machine) as batcher:
        busy = await both_busy(batcher, machine)
        quick = busy[machine.inside[LANES[1]][0]]
        machine.let_go(LANES[1])
        await asyncio.wait_for(quick, 10)
        assert LANES[0] in machine.inside
        machine.let_go(LANES[0])
        await asyncio.gather(*busy)


async def test_a_bad_image_fails_alone_in_a_lane_too() -> None:
    """Its company is run again without it."""
    machine = Machine()
    async with started(machine) as batcher:
        machine.hold(WHOLE)
        first = ask(batcher, 0)
        await until(lambda: WHOLE in machine.inside)
        others = [ask(batcher, number) for number in (1, 2, -3, 4, 5, 6)]
        await until(lambda: batcher.depth == 6)
        machine.let_go(WHOLE)
        results = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(results[3], EngineFailed)
    assert [result[0] for result in results if isinstance(result, tuple)] == [0, 2, 4, 8, 10, 12]


async def test_a_lane_that_hangs_is_seen_though_the_other_goes_on() -> None:
    """running_s grows with the part that hangs."""
    machine = Machine()
    async with started(machine) as batcher:
        busy = await both_busy(batcher, machine)
        machine.let_go(LANES[1])
        for number in range(3):
            await asyncio.wait_for(ask(batcher, number), 10)
            await asyncio.sleep(0.02)
        assert batcher.running_s() > 0.05
        machine.let_go(LANES[0])
        await asyncio.gather(*busy)
        await until(lambda: batcher.running_s() == 0)


async def test_lanes_are_loaded_for_two_and_not_before() -> None:
    """They take memory, which who is never asked by two at once need not spend."""
    machine = Machine()
    async with started(machine, warm=False) as batcher:
        for number in range(3):
            await ask(batcher, number)
        assert machine.loads == 0
        await asyncio.gather(*(ask(batcher, number) for number in range(6)))
        await until(lambda: machine.loads == 1)


async def test_meanwhile_the_whole_engine_runs_image_by_image() -> None:
    """It would keep memory for batches of a size that it never runs again."""
    machine = Machine()
    machine.may_load.clear()
    async with started(machine, warm=False) as batcher:
        answers = await asyncio.gather(*(ask(batcher, number) for number in range(6)))
        machine.may_load.set()
    assert [answer[0] for answer in answers] == [0, 2, 4, 6, 8, 10]
    assert [batch for _, batch in machine.ran] == [[0], [1], [2], [3], [4], [5]]


async def test_who_leaves_while_lanes_load_is_not_run() -> None:
    """They wait in the queue, image by image, not beside it."""
    machine = Machine()
    machine.may_load.clear()
    async with started(machine, warm=False) as batcher:
        machine.hold(WHOLE)
        asked = [ask(batcher, number) for number in range(6)]
        await until(lambda: batcher.depth == 5)
        goes_on = machine.stop_at(1)
        machine.let_go(WHOLE)
        await until(lambda: machine.inside.get(WHOLE) == [1])
        for leaver in asked[2:]:
            leaver.cancel()
        await asyncio.gather(*asked[2:], return_exceptions=True)
        goes_on.set()
        assert [(await task)[0] for task in asked[:2]] == [0, 2]
        machine.may_load.set()
    assert machine.ran == [(WHOLE, [0]), (WHOLE, [1])]


async def test_a_hang_of_the_whole_engine_is_seen_though_lanes_come_meanwhile() -> None:
    """running_s does not begin anew with what lanes take."""
    machine = Machine()
    machine.may_load.clear()
    async with started(machine, warm=False) as batcher:
        machine.hold(WHOLE)
        asked = [ask(batcher, number) for number in range(4)]
        await until(lambda: machine.loads == 1 and WHOLE in machine.inside)
        machine.may_load.set()
        await asyncio.sleep(0.1)
        assert batcher.running_s() > 0.05
        machine.let_go(WHOLE)
        await asyncio.gather(*asked)


async def test_a_closed_batcher_lets_go_of_its_engine_at_once() -> None:
    """Without the garbage collector: what was frozen at start it never looks at again."""
    machine = Machine()
    watched = weakref.ref(machine)
    gc.disable()
    try:
        async with started(machine) as batcher:
            await asyncio.gather(*(ask(batcher, number) for number in range(4)))
        del machine, batcher
        await asyncio.sleep(0.01)
        assert watched() is None
    finally:
        gc.enable()


async def test_without_lanes_the_whole_engine_runs_full_batches() -> None:
    """An engine that has none says so once."""
    machine = Machine(lanes=0)
    async with started(machine, warm=False) as batcher:
        await asyncio.gather(*(ask(batcher, number) for number in range(6)))
        machine.ran.clear()
        machine.hold(WHOLE)
        first = ask(batcher, 0)
        await until(lambda: WHOLE in machine.inside)
        others = [ask(batcher, number) for number in range(1, 5)]
        await until(lambda: batcher.depth == 4)
        machine.let_go(WHOLE)
        await asyncio.gather(first, *others)
    assert machine.loads == 1 and machine.ran == [(WHOLE, [0]), (WHOLE, [1, 2, 3, 4])]


async def test_closing_answers_whoever_is_in_a_lane() -> None:
    """And ends the lanes' threads."""
    machine = Machine()
    async with started(machine) as batcher:
        busy = await both_busy(batcher, machine)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        machine.let_go(*LANES)
        await asyncio.wait_for(closing, 10)
        assert [(await task)[0] for task in busy] == [0, 2, 4]
        assert not batcher.has_died


@pytest.mark.parametrize("lanes", [1, 2])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 40), st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=30))
def test_everybody_gets_their_own_answer(lanes: int, arrivals: list[tuple[int, str, bool, bool]]) -> None:
    """Any mix of canvases, priorities, failures and leavers, before and after the lanes are there."""

    async def scenario() -> None:
        async with started(Machine(lanes=lanes), warm=False) as batcher:
            for _ in range(2):
                tasks = [ask(batcher, number, canvas, high=high) for number, canvas, _, high in arrivals]
                await asyncio.sleep(0)
                for task, (_, _, leaves, _) in zip(tasks, arrivals, strict=True):
                    if leaves:
                        task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert_own_answers(arrivals, results)

    asyncio.run(scenario())
