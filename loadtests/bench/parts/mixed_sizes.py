"""Throughput on mixed image sizes, as a share of that on one size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from loadtests import plot, scrape
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.driver import Target
from loadtests.pictures import Picture, read_pictures, resize_to, spread_sizes_wh
from loadtests.run import drive
from loadtests.samples import Sample
from loadtests.scenarios import closed
from loadtests.serving import serving

TITLE = "mixed sizes: answers a second as a share of those on one size"
SIDE_PX = 64
"""Small images, so that decoding leaves the engine the bottleneck; the service enlarges them onto its canvases."""
TARGET = 0.9


@dataclass
class Tally:
    """What one mix of sizes gave, over all rounds."""

    pictures: Sequence[Picture]
    rates_per_s: list[float] = field(default_factory=list)
    batch_sizes: list[float] = field(default_factory=list)
    errors: int = 0
    different: int = 0


ENGINE_BOUND_MS = 100.0
"""At 20 ms the engine does 400 images a second, more than HTTP can feed it on two busy cores, and sizes cost nothing.
At 100 ms the engine is what everything waits for, and it is batches that are compared."""


def measure(plan: Plan) -> Result:
    """
    Closed loop on one service: one size, then 2, 4 and 16 sizes, then 16 of widely different shapes, taking turns.

    Every answer is compared, digit for digit, with that of the same picture sent alone. Once with the engine as quick
    as the plan says, once with one that is surely the bottleneck.
    """
    delays_ms = sorted({plan.engine_delay_ms, max(plan.engine_delay_ms, ENGINE_BOUND_MS)})
    results = [_measure(replace(plan, engine_delay_ms=delay_ms)) for delay_ms in delays_ms]
    figures = [
        replace(figure, name=f"{delay_ms:g} ms: {figure.name}")
        for delay_ms, result in zip(delays_ms, results, strict=True)
        for figure in result.figures
    ]
    plots = {
        f"mixed-sizes-{delay:g}ms": result.plots["ratios"] for delay, result in zip(delays_ms, results, strict=True)
    }
    return Result(figures, plots=plots)


def _measure(plan: Plan) -> Result:
    originals = [picture for picture in read_pictures(None) if picture.content_type == "image/png"]
    mixes = {f"{count} sizes": spread_sizes_wh(count, SIDE_PX, 1.2) for count in (1, 2, 4, 16)}
    mixes["16 sizes, 1:2 to 2:1"] = spread_sizes_wh(16, SIDE_PX, 2.0)
    tallies = {name: Tally(resize_to(originals, sizes_wh)) for name, sizes_wh in mixes.items()}
    with serving(plan.service()) as service:
        target = Target(service.url)
        alone = {name: _answers_alone(target, tally.pictures) for name, tally in tallies.items()}
        for number in range(plan.rounds):
            order = list(tallies) if number % 2 == 0 else list(reversed(tallies))
            for name in order:
                before = scrape.scrape(service.metrics_url)
                samples = _load(plan, target, tallies[name].pictures, plan.seed + number)
                counted = scrape.between(before, scrape.scrape(service.metrics_url))
                _add(tallies[name], samples, alone[name], counted.batching.mean_batch_size)
    return _result(plan, tallies)


def _answers_alone(target: Target, pictures: Sequence[Picture]) -> Mapping[str, str | None]:
    samples = drive(closed(target, pictures, len(pictures), concurrency=1, seed=0), lambda _: None)
    return {sample.picture: sample.reply.detections_digest for sample in samples}


def _load(plan: Plan, target: Target, pictures: Sequence[Picture], seed: int) -> list[Sample]:
    requests = int(plan.seconds / 3 * plan.engine_rate_per_s)
    return drive(closed(target, pictures, requests, plan.clients, seed), lambda _: None)


def _add(tally: Tally, samples: Sequence[Sample], alone: Mapping[str, str | None], batch_size: float | None) -> None:
    ok = [sample for sample in samples if sample.is_ok]
    tally.rates_per_s.append(len(ok) / max(sample.done_s for sample in samples))
    tally.batch_sizes.append(batch_size or 0.0)
    tally.errors += len(samples) - len(ok)
    tally.different += sum(sample.reply.detections_digest != alone[sample.picture] for sample in ok)


def _result(plan: Plan, tallies: Mapping[str, Tally]) -> Result:
    one = tallies["1 sizes"]
    ratios = {
        name: median(many / single for many, single in zip(tally.rates_per_s, one.rates_per_s, strict=True))
        for name, tally in tallies.items()
        if tally is not one
    }
    figures = [Figure("one size", median(one.rates_per_s), "answers/s")]
    figures.append(Figure("one size / the engine's own rate", median(one.rates_per_s) / plan.engine_rate_per_s))
    figures += [Figure(f"{name} / one size", ratio, at_least=TARGET) for name, ratio in ratios.items()]
    figures += [Figure(f"mean batch, {name}", median(tally.batch_sizes), "images") for name, tally in tallies.items()]
    figures.append(Figure("errors", sum(tally.errors for tally in tallies.values()), at_most=0))
    figures.append(
        Figure("answers that differ from those alone", sum(t.different for t in tallies.values()), at_most=0)
    )
    drawn = plot.bar_figure(
        f"{TITLE}, {plan.engine_delay_ms:g} ms a batch", list(ratios.items()), "of the rate on one size", TARGET
    )
    return Result(figures, plots={"ratios": drawn})
