"""One running server under one load: a step at a rate, and the search for the highest it holds."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.histogram import percentiles
from loadtests.peers.counts import Counts
from loadtests.peers.launching import Server
from loadtests.peers.records import Purpose, Step
from loadtests.peers.searching import highest_rate_per_s
from loadtests.pictures import Picture
from loadtests.run import drive
from loadtests.samples import Sample
from loadtests.scenarios import closed, steady

PATIENCE_S = 2.0
"""Callers hang up after this: ten times the objective."""
WARM_REQUESTS, WARM_CALLERS = 96, 8
SETTLED_TIMES, SETTLE_S, ALONE = 2.0, 30.0, 5
"""After an overload a server has settled when a lone caller waits so many times as long as before, at most."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How thoroughly to measure."""

    step_s: float
    factor: float
    """Of the rates while a search doubles."""
    resolution: float
    """How close the last two rates of a search are."""
    seed: int


TRIES = 3
"""A step that failed while this client itself was late says nothing of the server: it is repeated."""


class Unusable(Exception):
    """The server answers, and not what was asked."""


class Bench:
    """A server, what it is called, and the pictures of a load as they go through its door."""

    def __init__(self, name: str, load: str, server: Server, pictures: Sequence[Picture], pace: Pace) -> None:
        self._name, self._load, self._server, self._pace = name, load, server, pace
        self._pictures = [server.door.dressed(picture) for picture in pictures]
        self._alone_ms = 0.0
        self.steps: list[Step] = []

    def warm(self) -> None:
        """Every picture, several at a time, so that nothing is done for the first time later. Raises Unusable."""
        count = max(WARM_REQUESTS, len(self._pictures))
        traffic = closed(self._server.target(SETTLE_S), self._pictures, count, WARM_CALLERS, seed=0)
        outcomes = Counter(sample.outcome for sample in drive(traffic, lambda _: None))
        if outcomes["200"] < count:
            raise Unusable(", ".join(f"{outcome}: {times}" for outcome, times in sorted(outcomes.items())))
        self._alone_ms = self._lone_caller_waits_ms(ALONE)

    def search(self, round_number: int, first_per_s: float) -> float:
        """The highest rate held; every step is kept."""
        pace = self._pace

        def holds(rate_per_s: float) -> bool:
            steps = (self.step(round_number, "search", rate_per_s) for _ in range(TRIES))
            last = next(steps)
            while not last.holds and last.client_was_late and (another := next(steps, None)):
                last = another
            return last.holds

        return highest_rate_per_s(holds, first_per_s, pace.factor, pace.resolution)

    def step(self, round_number: int, purpose: Purpose, rate_per_s: float) -> Step:
        """Everybody's schedule is the same: it depends on rate and round alone."""
        rate_per_s, seed = float(f"{rate_per_s:.3g}"), self._pace.seed + round_number
        target = self._server.target(PATIENCE_S)
        before, spent_before_s = self._server.counted(), self._server.processors_s()
        samples = drive(steady(target, self._pictures, rate_per_s, self._pace.step_s, seed), lambda _: None)
        counted = self._server.counted().since(before)
        spent_s = self._server.processors_s() - spent_before_s
        step = summed(self._name, self._load, round_number, purpose, rate_per_s, samples, counted, spent_s)
        self.steps.append(step)
        self._settle()
        return step

    def _settle(self) -> None:
        """Until what an overload left behind is done: a server may go on working for callers who left."""
        give_up_s = time.monotonic() + SETTLE_S
        while time.monotonic() < give_up_s and not self._is_settled():
            time.sleep(self._alone_ms / 1e3)

    def _is_settled(self) -> bool:
        return self._lone_caller_waits_ms(1) <= SETTLED_TIMES * self._alone_ms

    def _lone_caller_waits_ms(self, times: int) -> float:
        """The median; infinite where an answer is missing."""
        traffic = closed(self._server.target(SETTLE_S), self._pictures[:1], times, 1, seed=0)
        alone = drive(traffic, lambda _: None)
        return median([sample.latency_ms if sample.is_ok else math.inf for sample in alone])


def summed(
    name: str,
    load: str,
    round_number: int,
    purpose: Purpose,
    rate_per_s: float,
    samples: Sequence[Sample],
    counted: Counts,
    spent_s: float,
) -> Step:
    """What the callers saw, and how the engine batched meanwhile."""
    latencies_ms = [sample.latency_ms for sample in samples if sample.is_ok]
    spread, lag = percentiles(latencies_ms), percentiles([sample.lag_ms for sample in samples])
    p50_ms, p95_ms, p99_ms = (spread.p50, spread.p95, spread.p99) if spread else (None, None, None)
    outcomes = dict(Counter(sample.outcome for sample in samples))
    sides = (lag.p99 if lag else None, counted.images_a_call, counted.padding_ratio, outcomes)
    told = (name, load, round_number, purpose, rate_per_s, len(samples), len(latencies_ms))
    spent_ms = spent_s * 1e3 / len(latencies_ms) if latencies_ms else None
    return Step(*told, p50_ms, p95_ms, p99_ms, *sides, processors_ms=spent_ms)
