"""One kind of caller, alone and beside three times the capacity of another kind: what the flood costs it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from loadtests import plot, report
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.bench.parts.overload import FACTOR, capacity
from loadtests.driver import Target
from loadtests.histogram import percentiles
from loadtests.pictures import Picture, read_pictures, resize_to, spread_sizes_wh
from loadtests.run import drive
from loadtests.samples import Sample
from loadtests.scenarios import Traffic, steady

ROUNDS = 3
MOST_SLOWED = 1.5


@dataclass(frozen=True, slots=True)
class Kinds:
    """wanted asks for share of the capacity; flood for three times all of it. who: the wanted, in the tables."""

    who: str
    wanted: Target
    flood: Target
    share: float


@dataclass(frozen=True, slots=True)
class Round:
    """The same wanted traffic twice."""

    alone: Sequence[Sample]
    loaded: Sequence[Sample]
    """With the others."""

    @property
    def wanted(self) -> list[Sample]:
        return [sample for sample in self.loaded if sample.kind == "wanted"]


def compare(plan: Plan, kinds: Kinds, name: str) -> Result:
    """Alone and under the flood take turns; p95 of the wanted, and whether all of them were answered."""
    originals = [picture for picture in read_pictures(None) if picture.content_type == "image/png"]
    pictures = resize_to(originals, spread_sizes_wh(4, 64, 1.2))
    capacity_per_s = capacity(plan, kinds.flood, pictures)
    seeds = range(plan.seed, plan.seed + 2 * min(plan.rounds, ROUNDS), 2)
    return _result(plan, kinds.who, name, [_round(plan, kinds, pictures, capacity_per_s, seed) for seed in seeds])


def _round(plan: Plan, kinds: Kinds, pictures: Sequence[Picture], capacity_per_s: float, seed: int) -> Round:
    wanted = steady(kinds.wanted, pictures, kinds.share * capacity_per_s, plan.seconds, seed)
    flood = steady(kinds.flood, pictures, FACTOR * capacity_per_s, plan.seconds, seed + 1)
    return Round(drive(wanted, lambda _: None), drive(_together(wanted, flood), lambda _: None))


def _together(wanted: Traffic, flood: Traffic) -> Traffic:
    orders = [replace(order, kind=kind) for kind, of in (("wanted", wanted), ("flood", flood)) for order in of.orders]
    return replace(flood, orders=sorted(orders, key=lambda order: order.due_s))


def _result(plan: Plan, who: str, name: str, rounds: Sequence[Round]) -> Result:
    alone_p95_ms = [_p95_ms(one.alone) for one in rounds]
    loaded_p95_ms = [_p95_ms(one.wanted) for one in rounds]
    ratio = median(under / free for under, free in zip(loaded_p95_ms, alone_p95_ms, strict=True))
    lost = sum(not sample.is_ok for one in rounds for sample in one.wanted)
    figures = [
        Figure(f"{who} p95 alone", median(alone_p95_ms), "ms"),
        Figure(f"{who} p95 under the flood", median(loaded_p95_ms), "ms"),
        Figure("under the flood / alone", ratio, at_most=MOST_SLOWED),
        Figure(f"{who} requests not answered", lost, at_most=0),
    ]
    last = rounds[-1].loaded
    summary = report.summarise(f"{name}, last round under the flood", {}, last, planned_s=plan.seconds)
    return Result(figures, report.notes(summary), {name: plot.run_figure(summary, last)})


def _p95_ms(samples: Sequence[Sample]) -> float:
    spread = percentiles([sample.latency_ms for sample in samples if sample.is_ok])
    return spread.p95 if spread else float("inf")
