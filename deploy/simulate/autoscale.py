"""
Which signal to scale pods by: ours, GPU utilisation and CPU, each at several targets, on daily, bursty and step loads.

    python -m deploy.simulate.autoscale --out docs
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from deploy.simulate.demand import Demand, bursty, daily, steps
from deploy.simulate.events import Engine
from deploy.simulate.fleet import Machine
from deploy.simulate.hpa import Policy, Rules, Spec
from deploy.simulate.knee import Point, curve, knee_of
from deploy.simulate.scaling import Outcome, Signal, cpu, engine_busy, in_flight, queued_work_s, simulate
from deploy.simulate.scaling_plot import draw_courses, draw_prices

OBJECTIVE_S = 1.0
MOST_LATE = 0.01
QUEUED = Signal("queued work", queued_work_s, 0.0)
INSIDE = Signal("in flight", in_flight, 0.0)
BUSY = Signal("engine busy", engine_busy, 0.0, needs_two=True)
CPU = Signal("CPU", cpu, 0.0, needs_two=True, missing=1.0)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Targets: what a signal reads when one pod is asked for such a share of its capacity; of the engine's time, it."""

Swept = Mapping[str, Mapping[float, Outcome]]
"""Signal -> share -> what came of it."""


def machines(image_ms: float, load_s: float) -> dict[str, Machine]:
    """On a CPU batches do not pay. The other stands for a GPU, where they do; its costs are assumed, not measured."""
    one_by_one, in_batches = Engine(0.0, image_ms / 1e3), Engine(0.1, 0.015)
    return {
        "cpu": Machine(one_by_one, 1, load_s, 10.0, cpu_request=2.0, engine_cpus=1.0, prepare_cpu_s=0.02),
        "gpu": Machine(in_batches, 8, 3 * load_s, 10.0, cpu_request=2.0, engine_cpus=0.3, prepare_cpu_s=0.02),
    }


def spec(load_s: float) -> Spec:
    """The chart's behaviour; the window for fewer pods is its default, or twice the time to load where that is more."""
    up = Rules(0.0, (Policy("Percent", 100, 30.0), Policy("Pods", 1, 30.0)))
    return Spec(1, 20, up, Rules(max(300.0, 2 * load_s), (Policy("Pods", 1, 60.0),)))


def choices(share: float, at: Point) -> dict[str, Sequence[Signal]]:
    """What is compared, each with what it reads at that point as its target."""
    queued, inside, cpus = (replace(one, target=at.signals[one.name]) for one in (QUEUED, INSIDE, CPU))
    queued_mean, inside_mean = replace(queued, averaged=True), replace(inside, averaged=True)
    return {
        "queued work": [queued],
        "queued work, mean of a minute": [queued_mean],
        "queued work + in flight": [queued, inside],
        "both, mean of a minute": [queued_mean, inside_mean],
        "engine busy (GPU utilisation)": [replace(BUSY, target=share)],
        "CPU": [cpus],
    }


def main(
    out: Annotated[Path, typer.Option(help="Folder for autoscaling-price.png and autoscaling-course.png.")] = Path(
        "docs"
    ),
    image_ms: Annotated[float, typer.Option(help="Engine time of an image on the CPU pod.")] = 100.0,
    load_s: Annotated[
        float, typer.Option(help="From wanting a CPU pod to its being ready; a GPU pod takes three times.")
    ] = 15.0,
) -> None:
    """Simulate the autoscaler under each signal; print the tables of docs/autoscaling.md."""
    prices: dict[tuple[str, str], Swept] = {}
    for kind, machine in machines(image_ms, load_s).items():
        points = curve(machine, [QUEUED, INSIDE, BUSY, CPU])
        _print_curve(kind, points)
        for demand in (daily(), bursty(), steps()):
            prices[kind, demand.name] = _sweep(demand, machine, points)
    _print_prices(prices)
    draw_prices(prices, MOST_LATE, out / "autoscaling-price.png")
    courses = {
        load: {name: _cheapest(by)[1] for name, by in swept.items()}
        for (kind, load), swept in prices.items()
        if kind == "gpu"
    }
    draw_courses(courses, machines(image_ms, load_s)["gpu"].capacity_per_s, OBJECTIVE_S, out / "autoscaling-course.png")


def _sweep(demand: Demand, machine: Machine, points: Mapping[float, Point]) -> Swept:
    swept: dict[str, dict[float, Outcome]] = {}
    for share in SHARES:
        for name, signals in choices(share, points[share]).items():
            outcome = simulate(demand, machine, signals, spec(machine.load_s), OBJECTIVE_S)
            swept.setdefault(name, {})[share] = outcome
    return swept


def _cheapest(by_share: Mapping[float, Outcome]) -> tuple[float, Outcome]:
    """The fewest pod-hours with at most MOST_LATE late; where none holds that, the least late."""
    good = [(share, one) for share, one in by_share.items() if one.late <= MOST_LATE]
    if good:
        return min(good, key=lambda found: found[1].pod_hours)
    return min(by_share.items(), key=lambda found: found[1].late)


def _print_curve(kind: str, points: Mapping[float, Point]) -> None:
    knee = knee_of(list(points.values()))
    typer.echo(f"\n{kind}: knee at {knee.rate_per_s:.1f} images/s\n")
    typer.echo("| of capacity | images/s | p95, ms | queued work, s | in flight | engine busy | CPU |")
    typer.echo("|---|---|---|---|---|---|---|")
    for share, point in points.items():
        read = point.signals
        typer.echo(
            f"| {share:.0%} | {point.rate_per_s:.1f} | {point.p95_s * 1e3:.0f} | {read['queued work']:.2f} | "
            f"{read['in flight']:.2f} | {read['engine busy']:.0%} | {read['CPU']:.0%} |"
        )


def _print_prices(prices: Mapping[tuple[str, str], Swept]) -> None:
    typer.echo("\n| pod | load | signal | target at | p95, s | late or lost | pod-hours | changes |")
    typer.echo("|---|---|---|---|---|---|---|---|")
    for (kind, load), swept in prices.items():
        for name, by_share in swept.items():
            share, one = _cheapest(by_share)
            typer.echo(
                f"| {kind} | {load} | {name} | {share:.0%} | {one.p95_s:.2f} | {one.late:.1%} | "
                f"{one.pod_hours:.1f} | {one.changes} |"
            )


if __name__ == "__main__":
    typer.run(main)
