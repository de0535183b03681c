"""
What holds whatever arrives, in simulated time: any order of images, canvases, priorities, failures, leavers, deadlines.

`deploy.simulate` drives the scheduler of the service; `Request.end` fails if anybody is answered twice.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.simulate.events import Engine, Request, Simulation, Step
from deploy.simulate.loads import poisson, summarise
from deploy.simulate.servers import Ours
from service.batching import policy
from service.batching.policy import TRUST_BATCHES, Budget
from service.batching.queue import Waiting
from service.batching.schedule import Schedule
from service.errors import Overloaded

NEVER = float("inf")
MAX_BATCH, MAX_PIXELS = 4, 6


@dataclass
class Watched(Ours):
    """The scheduler, with a record of every batch it started."""

    batches: list[list[Request]] = field(default_factory=list)

    def __init__(self) -> None:
        super().__init__(MAX_BATCH, MAX_PIXELS)
        self.batches = []

    def take(self, now: float) -> Step:
        step = super().take(now)
        for batch in step.groups:
            assert all(request.outcome is None for request in batch), "a batch holds somebody who is gone"
            assert len({request.canvas for request in batch}) == 1, "canvases are mixed"
            assert len(batch) <= MAX_BATCH and (len(batch) == 1 or sum(r.pixels for r in batch) <= MAX_PIXELS)
            self.batches.append(batch)
        return step


def requests_of(arrivals: list[int]) -> list[Request]:
    """
    One request for each number, which holds all that is drawn about it (one draw a request is quick to generate).

    A canvas has canvas + 1 pixels; half the callers set a deadline, one in four leaves, one in eight is bad.
    """
    now, requests = 0.0, []
    for number in arrivals:
        number, gap_ms = divmod(number, 12)
        number, canvas = divmod(number, 4)
        number, high = divmod(number, 2)
        number, bad = divmod(number, 8)
        number, patient = divmod(number, 2)
        number, leaves = divmod(number, 4)
        number, caller = divmod(number, 3)
        leaves_ms, patience_ms = divmod(number, 200)
        now += gap_ms / 1e3
        deadline = NEVER if patient == 0 else now + (patience_ms + 1) / 1e3
        leaves_at = now + leaves_ms / 1e3 if leaves == 3 else None
        requests.append(Request(now, canvas, deadline, canvas + 1, high == 1, bad == 7, leaves_at, "abc"[caller]))
    return requests


ARRIVALS = st.lists(st.integers(0, 12 * 4 * 2 * 8 * 2 * 4 * 3 * 200 * 60 - 1), max_size=20)
ENGINES = st.builds(Engine, st.sampled_from([0.0005, 0.005, 0.02]), st.sampled_from([0.0, 0.002, 0.01]))


def check_everybody_is_answered_as_they_should(arrivals: list[int], engine: Engine) -> None:
    requests, server = requests_of(arrivals), Watched()
    Simulation(server, engine).run(requests)
    for request in requests:
        outcomes = {"failed"} if request.bad else {"answered"}
        if request.leaves is not None:
            outcomes.add("left")
        if request.deadline < NEVER:
            outcomes |= {"expired", "refused"}
        assert request.outcome in outcomes
        assert request.ended <= request.deadline
    assert server.schedule.depth == 0
    assert server.schedule.work_ahead_s(0.0) == 0.0
    for batch in server.batches:
        assert len(batch) > 1 or not batch[0].bad or batch[0].outcome != "answered"


def check_nobody_is_passed_over_for_long(lines_drawn: list[int]) -> None:
    """Everything at once, with little patience: each line is served at least once in so many batches."""
    requests = [Request(0.0, line % 6, NEVER, 1, high=line >= 6) for line in lines_drawn]
    server = Watched()
    with little_patience(2, 2):
        Simulation(server, Engine(0.01)).run(requests)
    lines = len({(request.canvas, request.high) for request in requests})
    in_turn = (2 + lines) * (3 if any(request.high for request in requests) else 1)
    for index, request in enumerate(requests):
        ahead = sum((one.canvas, one.high) == (request.canvas, request.high) for one in requests[:index])
        started = next(number for number, batch in enumerate(server.batches) if request in batch)
        assert started <= (ahead + 1) * in_turn


@contextmanager
def little_patience(batches: int, highs: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "PATIENCE_BATCHES", batches)
        patch.setattr(policy, "HIGH_IN_A_ROW", highs)
        yield


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


LINES = st.lists(st.integers(0, 11), min_size=1, max_size=40)  # six canvases of two priorities


@examples(200)
@given(ARRIVALS, ENGINES)
def test_everybody_is_answered_once_as_they_should(arrivals: list[int], engine: Engine) -> None:
    """Good ones are answered, bad ones fail alone; only leavers leave, only deadlines expire or are refused."""
    check_everybody_is_answered_as_they_should(arrivals, engine)


@examples(100)
@given(LINES)
def test_nobody_starves(lines: list[int]) -> None:
    """However many fuller lines and high priorities there are, a line's turn comes after a few batches."""
    check_nobody_is_passed_over_for_long(lines)


@pytest.mark.slow
@examples(7500)
@given(ARRIVALS, ENGINES)
def test_everybody_is_answered_once_as_they_should_in_7500_examples(arrivals: list[int], engine: Engine) -> None:
    """The same, at length."""
    check_everybody_is_answered_as_they_should(arrivals, engine)


@pytest.mark.slow
@examples(2500)
@given(LINES)
def test_nobody_starves_in_2500_examples(lines: list[int]) -> None:
    """The same, at length."""
    check_nobody_is_passed_over_for_long(lines)


def test_a_rare_canvas_has_its_turn_among_full_batches() -> None:
    """31 callers of one canvas ask again and again; one of another canvas is served within its patience, every time."""
    waited: list[int] = []
    server, lone = Watched(), []

    def ask_again(request: Request, now: float) -> list[Request]:
        if request.canvas == 1:
            started = next(n for n, batch in enumerate(server.batches) if request in batch)
            waited.append(sum(batch[0].started >= request.arrives for batch in server.batches[:started]))
            lone.append(request)
        return [Request(now, request.canvas, NEVER, 1)]

    crowd = [Request(0.0, 0, NEVER, 1) for _ in range(31)] + [Request(0.0, 1, NEVER, 1)]
    Simulation(server, Engine(0.02), ask_again).run(crowd, until=20.0)
    assert len(waited) > 40 and max(waited) <= policy.PATIENCE_BATCHES + 1
    full = sum(len(batch) == MAX_BATCH for batch in server.batches)
    assert full > 0.9 * (len(server.batches) - len(lone))


def test_high_priority_overtakes_and_normal_still_has_its_turn() -> None:
    """Before a hundred normal ones the high ones go next; among high ones alone a normal one waits 24 batches."""
    crowd = [Request(0.0, canvas % 3, NEVER, 1) for canvas in range(100)]
    high = [Request(0.101 + 0.05 * n, 5, NEVER, 1, high=True) for n in range(10)]
    server = Watched()
    Simulation(server, Engine(0.02)).run(crowd + high)
    assert max(request.started - request.arrives for request in high) <= 0.02
    server, stream = Watched(), [Request(0.0, 5, NEVER, 1, high=True) for _ in range(200)]
    patient = Request(0.0, 0, NEVER, 1)
    Simulation(server, Engine(0.02)).run([*stream, patient])
    assert server.batches.index([patient]) == policy.HIGH_IN_A_ROW + 1  # the first ran before it came


def test_a_pressing_deadline_goes_before_a_fuller_batch() -> None:
    """Twenty images in full batches can wait; the lone one that has to start within 60 ms cannot."""
    learn = [Request(0.0, canvas, NEVER, 1) for canvas in (0, 1)]
    full = [Request(1.0 + n / 1e3, 0, 9.0, 1) for n in range(20)]
    pressing = Request(1.001, 1, 1.081, 1)
    Simulation(Watched(), Engine(0.02)).run([*learn, *full, pressing])
    assert pressing.outcome == "answered"
    assert all(request.outcome == "answered" for request in full)


def test_what_cannot_be_kept_is_refused_at_once_and_the_rest_is_kept() -> None:
    """Twice what fits into the deadline arrives at once: the surplus is refused on arrival, next to nobody expires."""
    learn = [Request(n, 0, NEVER, 1) for n in range(3)]
    crowd = [Request(10.0 + n / 1e4, 0, 10.5, 1) for n in range(200)]  # 4 a batch of 20 ms: 100 fit into 0.5 s
    Simulation(Watched(), Engine(0.02)).run([*learn, *crowd])
    refused = [request for request in crowd if request.outcome == "refused"]
    assert all(request.ended == request.arrives for request in refused)
    assert sum(request.outcome == "answered" for request in crowd) >= 50
    assert sum(request.outcome == "expired" for request in crowd) == 0


@pytest.mark.parametrize("somebody_waits", [True, False])
def test_what_a_batch_took_is_learned_before_the_next_is_chosen(somebody_waits: bool) -> None:
    """Or when there is time for it; an engine that stands idle meanwhile counts as idle at once."""
    schedule = Schedule[int](Budget(1, 100))
    schedule.add(schedule.admit(0.0, 10.0), Waiting(0, "a", 1, 10.0, 0.0))
    batch, _ = schedule.take(0.0)
    schedule.part_succeeded(batch, 1.0)
    assert schedule.work_ahead_s(1.0) == schedule.cost.batch_s == 0.0
    if somebody_waits:
        schedule.add(schedule.admit(1.0, 10.0), Waiting(1, "a", 1, 10.0, 1.0))
        schedule.take(1.0)
    else:
        schedule.learn()
    assert schedule.cost.batch_s == 1.0


def test_a_caller_to_come_counts_as_work() -> None:
    """Images still being decoded are ahead of a newcomer as if they queued already; who leaves again is not."""
    schedule = Schedule[int](policy.Budget(1, 100))
    schedule.cost.learn(policy.Size("a", 1, 1), 0.1)
    tickets = [schedule.admit(0.0, 10.0) for _ in range(20)]
    assert schedule.work_ahead_s(0.0) == pytest.approx(2.0)
    with pytest.raises(Overloaded) as refused:
        schedule.admit(0.0, 1.0)
    assert refused.value.retry_after_s is not None and refused.value.retry_after_s > 1.0
    for ticket in tickets:
        schedule.settle(ticket, 0.5)
    assert schedule.work_ahead_s(0.5) == 0.0


def test_several_images_of_one_caller_are_so_much_work_and_so_many_turns() -> None:
    """Six views count six times, before they are queued and after; with a deadline for one of them they are refused."""
    schedule = Schedule[int](policy.Budget(1, 100))
    schedule.cost.learn(policy.Size("a", 1, 1), 0.1)
    many = schedule.admit(0.0, 1e9, caller="many", images=6)
    assert schedule.work_ahead_s(0.0) == pytest.approx(0.6)
    with pytest.raises(Overloaded):
        schedule.check(0.0, 1.0, images=6)
    schedule.check(0.0, 1.2)
    for index in range(6):
        schedule.add(many, Waiting(index, "a", 1, 1e9, 0.0))
        assert schedule.work_ahead_s(0.0) == pytest.approx(0.6)
    other = schedule.admit(0.0, 1e9, caller="other")
    schedule.add(other, Waiting(6, "a", 1, 1e9, 0.0))
    order = []
    while batch := schedule.take(0.0)[0]:
        order += [waiting.item for waiting in batch]
        schedule.succeeded(0.1)
    assert order.index(6) < 5  # who sends one comes before the last of who sends six
    for ticket in (many, other):
        schedule.settle(ticket, 1.0)
    assert schedule.work_ahead_s(1.0) == 0.0


def test_an_engine_out_of_memory_gets_half_as_many_pixels_until_it_is_trusted_again() -> None:
    """Of eight images four run next, then all eight again once hundreds of batches have gone well."""
    schedule = Schedule[int](Budget(8, 800))

    def fill(count: int) -> None:
        for index in range(count):
            schedule.add(schedule.admit(0.0, 1e9), Waiting(index, "canvas", 100, 1e9, 0.0))

    fill(8)
    assert len(schedule.take(0.0)[0]) == 8
    assert schedule.failed(out_of_memory=True) is None
    sizes = []
    for _ in range(3 * TRUST_BATCHES):
        fill(8 - schedule.depth)
        batch, _ = schedule.take(0.0)
        sizes.append(len(batch))
        schedule.succeeded(1.0)  # a second, whatever the size: the larger the batch the better
    assert max(sizes[:TRUST_BATCHES]) == 4 and max(sizes[-TRUST_BATCHES:]) == 8


@pytest.mark.parametrize("canvases", [1, 4])
@pytest.mark.parametrize("engine", [Engine(0.02), Engine(0.1), Engine(0.0, 0.02), Engine(0.03, 0.004)])
def test_a_flood_of_one_caller_hardly_slows_another(engine: Engine, canvases: int) -> None:
    """One asks for 0.3 of the capacity, another for three times all of it: the first's p95 stays within 1.5 times."""
    capacity_hz = engine.capacity_hz(8)

    def p95_s(flood_hz: float) -> float:
        mine = poisson(0.3 * capacity_hz, canvases, 20.0, 1.0, seed=1)
        others = poisson(flood_hz, canvases, 20.0, 1.0, seed=2) if flood_hz else []
        for requests, caller in ((mine, "me"), (others, "flood")):
            for request in requests:
                request.caller = caller
        Simulation(Ours(8), engine).run([*mine, *others])
        settled = [request for request in mine if request.arrives > 2.0]
        assert all(request.outcome == "answered" for request in settled)
        return summarise(settled, 18.0).p95_s

    assert p95_s(3 * capacity_hz) <= 1.5 * p95_s(0.0)


@pytest.mark.parametrize(("engine", "canvases"), [(Engine(0.1), 1), (Engine(0.05, 0.02), 1), (Engine(0.0, 0.025), 4)])
def test_at_three_times_the_capacity_who_is_let_in_is_answered_in_time(engine: Engine, canvases: int) -> None:
    capacity_hz = engine.capacity_hz(8)
    requests = poisson(3 * capacity_hz, canvases, 20.0, 2.0, seed=1)
    Simulation(Ours(8), engine).run(requests)
    outcomes = Counter(request.outcome for request in requests)
    assert outcomes["answered"] >= 0.95 * capacity_hz * 20.0
    assert outcomes["expired"] <= 0.015 * outcomes["answered"], outcomes


def test_parts_that_run_out_of_memory_cost_the_budget_what_their_batch_did() -> None:
    """Two parts of four fail: batches of four run next, in parts of two. A larger one that fails raises nothing."""
    schedule = Schedule[int](Budget(8, 800))
    schedule.fill_batches()

    def fill(count: int) -> None:
        for index in range(count):
            schedule.add(schedule.admit(0.0, 1e9), Waiting(index, "canvas", 100, 1e9, 0.0))

    fill(16)
    batch, _ = schedule.take(0.0)
    assert len(batch) == 8
    for part in (batch[:4], batch[4:]):
        assert schedule.part_failed(part, 2, out_of_memory=True) is None
    for size in (2, 2, 2, 2, 4):
        again, _ = schedule.take(0.0)
        assert len(again) == size
        schedule.succeeded(0.1)
