"""Every caller is answered exactly once with its own answer, whatever its company does."""

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching import Batcher, Budget
from service.errors import DeadlineExceeded, EngineFailed, NotReady, Overloaded
from tests.patience import until

FAR = 60.0
Run = Callable[[Sequence[int]], Sequence[int]]
Start = Callable[..., Batcher[int, int]]


class Counting:
    """Counts what the batcher tells."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self.ran_batches: list[tuple[list[int], list[int]]] = []

    def cancelled(self, stage: str) -> None:
        self.left.append(stage)

    def ran(self, batch: Sequence[int], results: Sequence[int]) -> None:
        self.ran_batches.append((list(batch), list(results)))


class Gate:
    """An engine that doubles numbers, waits to be let through, and fails on negative ones."""

    def __init__(self, *, open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self._open = threading.Event()
        self.entered = threading.Event()
        if open:
            self._open.set()

    def let_through(self) -> None:
        self._open.set()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.entered.set()
        assert self._open.wait(10)
        self.batches.append(list(batch))
        if any(number < 0 for number in batch):
            raise ValueError("a negative number")
        return [number * 2 for number in batch]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a batcher around an engine; all are closed at the end, whatever became of the test."""
    with ThreadPoolExecutor(2) as threads:
        started: list[Batcher[int, int]] = []

        def start(run: Run, observer: Counting | None = None) -> Batcher[int, int]:
            started.append(Batcher(run, threads, Budget(8, 1000), observer or Counting()))
            started[-1].start()
            return started[-1]

        yield start
        for batcher in started:
            await batcher.close()


def ask(
    batcher: Batcher[int, int],
    number: int,
    canvas: str = "a",
    pixels: int = 1,
    timeout_s: float = FAR,
    high: bool = False,
) -> "asyncio.Task[tuple[int, float, int]]":
    async def call() -> tuple[int, float, int]:
        with batcher.admit(time.monotonic() + timeout_s, high=high) as ticket:
            return await batcher.submit(ticket, number, canvas, pixels)

    return asyncio.create_task(call())


async def busy(batcher: Batcher[int, int], gate: Gate) -> "asyncio.Task[tuple[int, float, int]]":
    """Occupy the engine, so that what comes next has to queue."""
    first = ask(batcher, 1000)
    await asyncio.to_thread(gate.entered.wait, 10)
    return first


async def test_waiting_callers_of_one_shape_share_a_batch(start: Start) -> None:
    """While the engine runs, company gathers; each gets its own answer."""
    gate = Gate(open=False)
    batcher = start(gate)
    first = await busy(batcher, gate)
    others = [ask(batcher, number) for number in range(8)]
    await asyncio.sleep(0)
    gate.let_through()
    assert [(await task)[0] for task in [first, *others]] == [2000, 0, 2, 4, 6, 8, 10, 12, 14]
    assert gate.batches == [[1000], list(range(8))]


async def test_canvases_never_mix_and_the_oldest_goes_first(start: Start) -> None:
    """Arrivals a b a b: two batches equally full, the one that waited longest first."""
    gate = Gate(open=False)
    batcher = start(gate)
    first = await busy(batcher, gate)
    others = [ask(batcher, number, canvas) for number, canvas in enumerate("abab")]
    await asyncio.sleep(0)
    gate.let_through()
    await asyncio.gather(first, *others)
    assert gate.batches[1:] == [[0, 2], [1, 3]]


async def test_a_batch_keeps_to_its_pixel_budget(start: Start) -> None:
    """Five images of 400 pixels under a budget of 1000: two, two, one; and one above the budget alone."""
    gate = Gate(open=False)
    batcher = start(gate)
    first = await busy(batcher, gate)
    others = [ask(batcher, number, pixels=400) for number in range(5)] + [ask(batcher, 9, "b", pixels=5000)]
    await asyncio.sleep(0)
    gate.let_through()
    await asyncio.gather(first, *others)
    assert gate.batches[1:] == [[0, 1], [2, 3], [9], [4]]  # alone, 9 is as full as its canvas can be


async def test_batch_survives_a_cancelled_caller(start: Start) -> None:
    """Callers that leave, queued or in the engine, disturb nobody; the queued one is dropped before the engine runs."""
    gate = Gate(open=False)
    batcher = start(gate)
    in_engine = await busy(batcher, gate)
    others = [ask(batcher, number) for number in range(4)]
    await asyncio.sleep(0)
    in_engine.cancel()
    others[1].cancel()
    await asyncio.sleep(0)
    gate.let_through()
    assert [(await others[index])[0] for index in (0, 2, 3)] == [0, 4, 6]
    assert gate.batches == [[1000], [0, 2, 3]]


async def test_a_batch_is_told_of_once_its_callers_are_answered(start: Start) -> None:
    """What is counted and learned keeps nobody waiting; with the items and results of each batch."""
    gate = Gate(open=False)
    observer, told_at_answer = Counting(), []
    batcher = start(gate, observer)

    async def answered(asked: "asyncio.Task[tuple[int, float, int]]") -> None:
        await asked
        told_at_answer.append(len(observer.ran_batches))

    first = await busy(batcher, gate)
    others = [ask(batcher, number) for number in (1, 2)]
    waiting = [asyncio.create_task(answered(asked)) for asked in (first, *others)]
    await asyncio.sleep(0)
    gate.let_through()
    await asyncio.gather(*waiting)
    await until(lambda: len(observer.ran_batches) == 2)
    assert observer.ran_batches == [([1000], [2000]), ([1, 2], [2, 4])]
    assert told_at_answer[0] == 0 and told_at_answer[1:] == [1, 1]


async def test_one_bad_item_in_a_full_batch_fails_alone(start: Start) -> None:
    """The seven around it are answered; the bad one is told it was the engine."""
    gate = Gate(open=False)
    batcher = start(gate)
    first = await busy(batcher, gate)
    numbers = [0, 1, 2, -3, 4, 5, 6, 7]
    others = [ask(batcher, number) for number in numbers]
    await asyncio.sleep(0)
    gate.let_through()
    await first
    results = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(results[3], EngineFailed) and "a negative number" in str(results[3])
    assert [r[0] for r in results if isinstance(r, tuple)] == [n * 2 for n in numbers if n >= 0]


async def test_a_wrong_number_of_results_is_our_fault(start: Start) -> None:
    """An engine that loses an item is found out, not passed on."""
    batcher = start(lambda batch: [])
    with pytest.raises(EngineFailed, match="This is a bug"):
        await ask(batcher, 1)


async def test_a_caller_out_of_time_is_told_and_never_run(start: Start) -> None:
    """Its deadline passes in the queue; the engine never sees it."""
    gate = Gate(open=False)
    batcher = start(gate)
    first = await busy(batcher, gate)
    with pytest.raises(DeadlineExceeded):
        await ask(batcher, 5, timeout_s=0.02)
    gate.let_through()
    await first
    await batcher.close()
    assert gate.batches == [[1000]]


async def test_who_is_out_of_time_holds_nothing_while_its_batch_runs_on(start: Start) -> None:
    """A hung engine would otherwise keep what led to the question: its caller's body and picture."""

    class Body:
        pass

    async def ask_with(body: Body) -> None:
        with pytest.raises(DeadlineExceeded), batcher.admit(time.monotonic() + 0.05) as ticket:
            await batcher.submit(ticket, 5, "a", 1)
        assert body

    gate = Gate(open=False)
    batcher, body = start(gate), Body()
    watched = weakref.ref(body)
    await ask_with(body)
    del body
    assert watched() is None and not batcher.is_idle
    gate.let_through()
    await until(lambda: batcher.is_idle)


async def test_a_caller_who_gives_up_at_its_deadline_leaves_once(start: Start) -> None:
    """Whichever of its own timer and the batcher's is first."""
    gate = Gate(open=False)
    batcher = start(gate, observer := Counting())
    first = await busy(batcher, gate)
    deadline = asyncio.get_running_loop().time() + 0.05
    with batcher.admit(deadline) as ticket:
        asked = asyncio.create_task(batcher.submit(ticket, 5, "a", 1))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(deadline, asked.cancel)
        await asyncio.gather(asked, return_exceptions=True)
    gate.let_through()
    await first
    assert observer.left == ["queue"]


async def test_what_cannot_be_done_in_time_is_refused_at_once(start: Start) -> None:
    """Once a batch has been timed, a deadline shorter than the predicted work is refused with the time to wait."""

    gate = Gate(open=False)

    def slow(batch: Sequence[int]) -> list[int]:
        time.sleep(0.05)
        return gate(batch) if batch == [1000] else list(batch)

    batcher = start(slow)
    await ask(batcher, 1)
    first = await busy(batcher, gate)
    waiting = [ask(batcher, number) for number in range(40)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await ask(batcher, 2, timeout_s=0.1)
    assert refused.value.retry_after_s is not None and refused.value.retry_after_s > 0.1
    gate.let_through()
    await asyncio.gather(first, *waiting)


async def test_an_idle_engine_always_tries(start: Start) -> None:
    """A slow first batch must not make an idle service refuse for ever: what runs corrects the prediction."""
    seconds = [0.2, 0.0]

    def warming(batch: Sequence[int]) -> list[int]:
        time.sleep(seconds.pop(0))
        return list(batch)

    batcher = start(warming)
    await ask(batcher, 1, pixels=1)
    assert (await ask(batcher, 2, pixels=100, timeout_s=5.0))[0] == 2


async def test_closing_finishes_what_was_accepted(start: Start) -> None:
    """Nothing accepted is lost; what comes later is sent away."""
    gate = Gate(open=False)
    batcher = start(gate)
    first = await busy(batcher, gate)
    waiting = ask(batcher, 7)
    await asyncio.sleep(0)
    gate.let_through()
    await batcher.close()
    assert (await first)[0] == 2000 and (await waiting)[0] == 14
    with pytest.raises(NotReady):
        await ask(batcher, 8)


def assert_own_answers(arrivals: list[tuple[int, str, bool, bool]], results: Sequence[object]) -> None:
    """Of arrivals (number, canvas, leaves, high): each has twice its own number, a failure if negative, or has left."""
    for (number, _, leaves, _), result in zip(arrivals, results, strict=True):
        if leaves:
            assert isinstance(result, asyncio.CancelledError)
        elif number < 0:
            assert isinstance(result, EngineFailed)
        else:
            assert isinstance(result, tuple) and result[0] == number * 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 40), st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=30))
def test_everybody_gets_their_own_answer(arrivals: list[tuple[int, str, bool, bool]]) -> None:
    """Any mix of canvases, priorities, failures and leavers: the others get exactly twice their own number."""

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as threads:
            batcher = Batcher[int, int](Gate(), threads, Budget(4, 1000), Counting())
            batcher.start()
            tasks = [ask(batcher, number, canvas, high=high) for number, canvas, _, high in arrivals]
            await asyncio.sleep(0)
            for task, (_, _, leaves, _) in zip(tasks, arrivals, strict=True):
                if leaves:
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await batcher.close()
        assert_own_answers(arrivals, results)

    asyncio.run(scenario())
