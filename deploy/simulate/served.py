"""
One real pod at rising rates: where its knee is, and what the autoscaler's signals read below it.

    python -m deploy.simulate.served --rates 5,10,20,40
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import uvloop

from deploy.simulate.knee import KNEE_SLOWDOWN
from loadtests.arrivals import poisson_arrivals_s
from loadtests.driver import Order, Target, drive_open
from loadtests.pictures import Picture, deal, read_pictures
from loadtests.scrape import Series, scrape

QUEUED, INSIDE = "rcnn_queued_work_seconds", "rcnn_in_flight_requests"
PERIOD_S = 0.5
SHARE_OF_KNEE = 0.7


@dataclass(frozen=True)
class Measured:
    """Means of the two gauges over the run. failed: requests without an answer."""

    rate_per_s: float
    p95_s: float
    queued_work_s: float
    in_flight: float
    failed: int


def main(
    rates: Annotated[str, typer.Option(help="Images a second, rising.")],
    url: Annotated[str, typer.Option(help="The pod's HTTP port.")] = "http://127.0.0.1:8000",
    metrics: Annotated[str, typer.Option(help="The pod's metrics.")] = "http://127.0.0.1:8002/metrics",
    seconds: Annotated[float, typer.Option(help="At each rate.")] = 30.0,
    images: Annotated[Path | None, typer.Option(help="Folder of images; golden ones of the shipped models.")] = None,
) -> None:
    """Measure, and derive targets: what the signals read at 70 % of the knee."""
    pictures, target = read_pictures(images), Target(url)
    typer.echo("| images/s | p95, ms | queued work, s | in flight | failed |\n|---|---|---|---|---|")
    found: list[Measured] = []
    for rate in map(float, rates.split(",")):
        found.append(measure(target, metrics, pictures, rate, seconds))
        _say(found[-1])
    first = found[0].p95_s
    within = [each for each in found if each.p95_s < KNEE_SLOWDOWN * first and not each.failed]
    knee = within[-1].rate_per_s
    _say(measure(target, metrics, pictures, SHARE_OF_KNEE * knee, seconds))
    typer.echo(f"the knee is at {knee:g} images/s; the last row, at {SHARE_OF_KNEE:.0%} of it, gives the targets")


def measure(target: Target, metrics: str, pictures: list[Picture], rate_per_s: float, seconds: float) -> Measured:
    """Open loop for so many seconds; the gauges are read meanwhile."""
    due_s = poisson_arrivals_s(rate_per_s, seconds, seed=0)
    orders = [Order(one, target, due) for one, due in zip(deal(pictures, len(due_s), 0), due_s, strict=True)]
    scrapes: list[Series] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(metrics, scrapes, ended))
    watcher.start()
    try:
        samples = uvloop.run(drive_open(orders))
    finally:
        ended.set()
        watcher.join()
    latencies_s = [one.latency_ms / 1e3 for one in samples if one.is_ok]
    p95_s = float(np.quantile(latencies_s, 0.95)) if latencies_s else float("inf")
    queued, inside = (float(np.mean([_total(each, name) for each in scrapes])) for name in (QUEUED, INSIDE))
    return Measured(rate_per_s, p95_s, queued, inside, len(samples) - len(latencies_s))


def _watch(metrics: str, scrapes: list[Series], ended: threading.Event) -> None:
    began = time.monotonic()
    while not ended.wait(PERIOD_S):
        if time.monotonic() - began > 1.0:  # the queue is only filling before
            scrapes.append(scrape(metrics))


def _total(series: Series, name: str) -> float:
    """Over all labels."""
    return sum(value for key, value in series.items() if key[0] == name)


def _say(one: Measured) -> None:
    typer.echo(
        f"| {one.rate_per_s:.1f} | {one.p95_s * 1e3:.0f} | {one.queued_work_s:.2f} | {one.in_flight:.2f} "
        f"| {one.failed} |"
    )


if __name__ == "__main__":
    typer.run(main)
