"""Callers with high priority under an overload of normal ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from loadtests import plot, report
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.bench.parts.overload import DEADLINE_MS, ENGINE_DELAY_MS, FACTOR, capacity
from loadtests.driver import Target
from loadtests.histogram import percentiles
from loadtests.pictures import Picture, read_pictures, resize_to, spread_sizes_wh
from loadtests.run import drive
from loadtests.samples import Sample
from loadtests.scenarios import Traffic, steady
from loadtests.serving import serving

TITLE = "priority: high-priority callers under an overload of normal ones"
HIGH_SHARE = 0.2
"""Of the capacity: what the high-priority callers ask for. The engine is then seldom idle even without the others, so a
batch that is running when a request comes, which nothing can interrupt, is part of both p95."""
HEADER = ("X-Request-Priority", "high")
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Round:
    """The same high-priority traffic twice."""

    alone: Sequence[Sample]
    loaded: Sequence[Sample]
    """With the others."""

    @property
    def high(self) -> list[Sample]:
        return [sample for sample in self.loaded if sample.kind == "high"]


def measure(plan: Plan) -> Result:
    """The same high-priority traffic alone and under three times the capacity of normal traffic, taking turns."""
    plan = replace(plan, engine_delay_ms=ENGINE_DELAY_MS)
    originals = [picture for picture in read_pictures(None) if picture.content_type == "image/png"]
    pictures = resize_to(originals, spread_sizes_wh(4, 64, 1.2))
    with serving(plan.service()) as service:
        normal = Target(service.url, deadline_ms=DEADLINE_MS)
        capacity_per_s = capacity(plan, normal, pictures)
        seeds = range(plan.seed, plan.seed + 2 * min(plan.rounds, ROUNDS), 2)
        rounds = [_round(plan, normal, pictures, capacity_per_s, seed) for seed in seeds]
    return _result(plan, rounds)


def _round(plan: Plan, normal: Target, pictures: Sequence[Picture], capacity_per_s: float, seed: int) -> Round:
    high = replace(normal, headers=(HEADER,))
    wanted = steady(high, pictures, HIGH_SHARE * capacity_per_s, plan.seconds, seed)
    flood = steady(normal, pictures, FACTOR * capacity_per_s, plan.seconds, seed + 1)
    return Round(drive(wanted, lambda _: None), drive(_together(wanted, flood), lambda _: None))


def _together(high: Traffic, normal: Traffic) -> Traffic:
    orders = [replace(order, kind=kind) for kind, of in (("high", high), ("normal", normal)) for order in of.orders]
    return replace(normal, orders=sorted(orders, key=lambda order: order.due_s))


def _result(plan: Plan, rounds: Sequence[Round]) -> Result:
    alone_p95_ms = [_p95_ms(one.alone) for one in rounds]
    loaded_p95_ms = [_p95_ms(one.high) for one in rounds]
    ratio = median(under / free for under, free in zip(loaded_p95_ms, alone_p95_ms, strict=True))
    lost = sum(not sample.is_ok for one in rounds for sample in one.high)
    figures = [
        Figure("high-priority p95 alone", median(alone_p95_ms), "ms"),
        Figure("high-priority p95 under overload", median(loaded_p95_ms), "ms"),
        Figure("under overload / alone", ratio, at_most=1.5),
        Figure("high-priority requests not answered", lost, at_most=0),
    ]
    last = rounds[-1].loaded
    summary = report.summarise("priority, last round under load", {}, last, planned_s=plan.seconds)
    return Result(figures, report.notes(summary), {"priority": plot.run_figure(summary, last)})


def _p95_ms(samples: Sequence[Sample]) -> float:
    spread = percentiles([sample.latency_ms for sample in samples if sample.is_ok])
    return spread.p95 if spread else float("inf")
