"""Three times what the service can do: what gets through, how quickly the rest is refused, how soon it is over."""

import random
from collections.abc import Sequence
from dataclasses import replace

from loadtests import findings, plot, report, scrape
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.driver import Order, Target
from loadtests.histogram import percentiles
from loadtests.pictures import Picture, read_pictures, resize_to, spread_sizes_wh
from loadtests.run import drive
from loadtests.samples import Sample
from loadtests.scenarios import Traffic, closed, overload
from loadtests.serving import MemoryWatch, Service, serving, serving_nothing

TITLE = "overload: three times the capacity"
FACTOR = 3.0
ENGINE_DELAY_MS = 200.0
"""A batch of eight on a detector of 25 ms an image. On a quicker one, three times the capacity is so many requests that
two cores are busy with HTTP, and it is their scheduler that is measured instead of admission."""
DEADLINE_MS = 2000
IMPATIENT_SHARE, PATIENCE_S = 0.1, 0.15


def measure(plan: Plan) -> Result:
    """Half the capacity, three times the capacity, half again. A tenth of the callers hang up before their answer."""
    plan = replace(plan, engine_delay_ms=ENGINE_DELAY_MS)
    originals = [picture for picture in read_pictures(None) if picture.content_type == "image/png"]
    pictures = resize_to(originals, spread_sizes_wh(4, 64, 1.2))
    with serving(plan.service()) as service:
        target = Target(service.url, deadline_ms=DEADLINE_MS)
        capacity_per_s = capacity(plan, target, pictures)
        traffic = _with_impatient(
            overload(target, pictures, capacity_per_s, FACTOR, plan.seconds, plan.seed), plan.seed
        )
        floor = _floor(traffic)
        before = scrape.scrape(service.metrics_url)
        with MemoryWatch(service) as memory:
            samples = drive(traffic, lambda _: None)
        counted = scrape.between(before, scrape.scrape(service.metrics_url))
        figures = [*_figures(plan, samples, capacity_per_s, memory), floor, *_left_behind(service)]
    summary = report.summarise("overload", {}, samples, planned_s=traffic.planned_s)
    notes = [f"refused by reason: {counted.shed}"] if counted.shed else []
    return Result(figures, [*notes, *report.notes(summary)], {"overload": plot.run_figure(summary, samples)})


def capacity(plan: Plan, target: Target, pictures: Sequence[Picture]) -> float:
    """Answers a second in a closed loop with enough callers to fill every batch."""
    patient = replace(target, deadline_ms=None)
    requests = int(plan.seconds * plan.engine_rate_per_s)
    samples = drive(closed(patient, pictures, requests, plan.clients, plan.seed), lambda _: None)
    return sum(sample.is_ok for sample in samples) / max(sample.done_s for sample in samples)


def _floor(traffic: Traffic) -> Figure:
    """What nobody can be quicker than here and now: the arrivals of the overload on a server that does nothing."""
    with serving_nothing() as url:
        orders = [replace(o, target=replace(o.target, url=url)) for o in traffic.orders if o.kind == "overload"]
        begin_s = orders[0].due_s
        shifted = [replace(order, due_s=order.due_s - begin_s) for order in orders]
        samples = drive(replace(traffic, orders=shifted), lambda _: None)
    spread = percentiles([sample.latency_ms for sample in samples])
    return Figure("p99 of the same arrivals on a server that does nothing", spread.p99 if spread else None, "ms")


def _with_impatient(traffic: Traffic, seed: int) -> Traffic:
    """Some callers under the overload hang up early: nobody else should notice."""
    chance = random.Random(seed)
    return replace(traffic, orders=[_perhaps_impatient(order, chance) for order in traffic.orders])


def _perhaps_impatient(order: Order, chance: random.Random) -> Order:
    if order.kind != "overload" or chance.random() >= IMPATIENT_SHARE:
        return order
    return replace(order, target=replace(order.target, timeout_s=PATIENCE_S), kind="impatient")


def _figures(plan: Plan, samples: Sequence[Sample], capacity_per_s: float, memory: MemoryWatch) -> list[Figure]:
    # The impatient leave of their own will: what they were given counts as answered, what they left is no error.
    patient = [sample for sample in samples if sample.kind != "impatient"]
    everyone = [replace(sample, kind="overload") if sample.kind == "impatient" else sample for sample in samples]
    found = findings.of_overload(everyone, capacity_per_s, plan.seconds)
    errors = sum(not (sample.is_ok or sample.outcome == "429") for sample in patient)
    lag = percentiles([sample.lag_ms for sample in samples])
    after = [sample for sample in samples if sample.kind == "after" and sample.due_s > 2 * plan.seconds + 2.0]
    return [
        Figure("capacity", capacity_per_s, "answers/s"),
        Figure("goodput / capacity", found["goodput_over_capacity"], at_least=0.95),
        Figure("refusals p99", found["refusal_p99_ms"], "ms", at_most=10),
        Figure("this driver's own lateness p99", lag.p99 if lag else None, "ms"),
        Figure("normal p95", found["normal_p95_ms"], "ms"),
        Figure("normal p95 is back after", found["recovery_s"], "s", at_most=2),
        Figure("errors of patient callers that are no refusal", errors, at_most=0),
        Figure("callers that hung up", sum(s.kind == "impatient" and s.outcome == "timeout" for s in samples)),
        Figure("not answered later than 2 s after", sum(not sample.is_ok for sample in after), at_most=0),
        Figure("memory before", memory.before_mb, "MB"),
        Figure("memory added at the peak", memory.peak_mb - memory.before_mb, "MB", at_most=100),
    ]


def _left_behind(service: Service) -> list[Figure]:
    """Callers who hung up must leave nothing behind: both gauges are those of an idle service."""
    series = scrape.scrape(service.metrics_url)
    names = ("rcnn_in_flight_requests", "rcnn_queue_depth")
    return [Figure(f"{name} when all is over", scrape.total(series, name), at_most=0) for name in names]
