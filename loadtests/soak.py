"""
Hours of ordinary load with broken images in it, on a service of its own: does memory stay, does p95 stay?

Writes soak.json and soak.png into --out. Exit codes: 0 every target met, 1 some missed, 2 usage.
"""

import json
import random
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from loadtests import plot, tables
from loadtests.bench.figures import Figure, Result
from loadtests.driver import Target
from loadtests.histogram import percentiles
from loadtests.pictures import Picture, read_pictures
from loadtests.run import drive
from loadtests.samples import Sample
from loadtests.scenarios import Traffic, closed, steady
from loadtests.serving import Service, serving

LOAD, CORRUPT_SHARE = 0.8, 0.2
WINDOWS = 30
MEMORY_EVERY_S = 2.0
CALLERS, CAPACITY_REQUESTS = 16, 400
MOST_MB_PER_HOUR = 10.0
"""About what a measurement of half an hour can tell from nothing, where resident memory itself moves by a few MB."""
MOST_P95_CHANGE = 1.2
CORRUPT = frozenset({400, 415, 422})

console = Console()


@dataclass
class MemoryLine:
    """Resident memory of a service, every few seconds while a block runs."""

    service: Service
    moments_s: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "MemoryLine":
        self._thread = threading.Thread(target=self._watch, name="memory line")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        moment_s = 0.0
        while not self._done.wait(MEMORY_EVERY_S):
            moment_s += MEMORY_EVERY_S
            self.moments_s.append(moment_s)
            self.resident_mb.append(self.service.resident_mb())


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long.")] = 30.0,
    engine: Annotated[str, typer.Option(help="As in `rcnn serve`; fake costs 100 ms a batch.")] = "auto",
    images: Annotated[Path | None, typer.Option(help="Folder of images; else the shipped models' own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same schedule.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("loadtests/results"),
) -> None:
    pictures = read_pictures(images)
    with serving({"engine": engine, "fake_engine_delay_ms": 100}) as service:
        target = Target(service.url)
        warm = drive(closed(target, pictures, CAPACITY_REQUESTS, CALLERS, seed), lambda _: None)
        rate_per_s = LOAD * len(warm) / max(sample.done_s for sample in warm)
        console.print(f"{rate_per_s:.1f} requests/s for {minutes:g} minutes, {LOAD:.0%} of what was measured first")
        traffic = with_corrupt(steady(target, pictures, rate_per_s, 60 * minutes, seed), seed)
        with MemoryLine(service) as memory:
            samples = drive(traffic, lambda _: None)
    result = judge(samples, memory, 60 * minutes)
    console.print(tables.to_rich(result.table(f"soak, {minutes:g} minutes, {engine}")))
    out.mkdir(parents=True, exist_ok=True)
    setting = {"minutes": minutes, "engine": engine, "rate_per_s": rate_per_s, "corrupt_share": CORRUPT_SHARE}
    series = {"moments_s": memory.moments_s, "resident_mb": memory.resident_mb}
    rows = [asdict(figure) | {"is_met": figure.is_met} for figure in result.figures]
    (out / "soak.json").write_text(json.dumps({"setting": setting, "figures": rows, "memory": series}, indent=2) + "\n")
    result.plots["soak"].savefig(out / "soak.png", dpi=110)
    console.print(f"wrote {out / 'soak.json'}, {out / 'soak.png'}")
    raise typer.Exit(0 if all(figure.is_met is not False for figure in result.figures) else 1)


def with_corrupt(traffic: Traffic, seed: int) -> Traffic:
    """A share of the images cut short in their middle, or with bytes of their middle changed."""
    chance = random.Random(seed)
    broken: dict[str, Picture] = {}

    def corrupt(picture: Picture) -> Picture:
        if picture.name not in broken:
            broken[picture.name] = replace(picture, body=picture.body[: len(picture.body) // 2], upright_wh=None)
        return broken[picture.name]

    orders = [
        replace(order, picture=corrupt(order.picture), kind="corrupt")
        if chance.random() < CORRUPT_SHARE
        else replace(order, kind="whole")
        for order in traffic.orders
    ]
    return replace(traffic, orders=orders)


def judge(samples: Sequence[Sample], memory: MemoryLine, planned_s: float) -> Result:
    """Targets for memory, p95 and answers; the first tenth of the time is left out of the slope."""
    whole = [sample for sample in samples if sample.kind == "whole"]
    wrong = sum(not sample.is_ok for sample in whole)
    wrong_corrupt = sum(s.reply.status not in CORRUPT for s in samples if s.kind == "corrupt")
    p95_ms = windows_p95_ms(whole, planned_s)
    third = max(1, len(p95_ms) // 3)
    change = float(np.median(p95_ms[-third:]) / np.median(p95_ms[:third]))
    figures = [
        Figure("requests", len(samples)),
        Figure("whole images not answered", wrong, at_most=0),
        Figure("corrupt images not told so", wrong_corrupt, at_most=0),
        Figure("resident memory, slope", slope_mb_per_hour(memory, planned_s), "MB/h", at_most=MOST_MB_PER_HOUR),
        Figure("resident memory, highest", max(memory.resident_mb, default=0.0), "MB"),
        Figure("p95, last third / first third", change, at_most=MOST_P95_CHANGE),
    ]
    drawn = plot.soak_figure(memory.moments_s, memory.resident_mb, p95_ms, planned_s)
    return Result(figures, plots={"soak": drawn})


def slope_mb_per_hour(memory: MemoryLine, planned_s: float) -> float | None:
    """By least squares."""
    points = [(s, mb) for s, mb in zip(memory.moments_s, memory.resident_mb, strict=True) if s >= planned_s / 10]
    if len(points) < 3:
        return None
    return float(np.polyfit([s for s, _ in points], [mb for _, mb in points], 1)[0] * 3600)


def windows_p95_ms(samples: Sequence[Sample], planned_s: float) -> list[float]:
    """Of answers that were due in each of thirty equal parts of the time."""
    parts: list[list[float]] = [[] for _ in range(WINDOWS)]
    for sample in samples:
        if sample.is_ok:
            parts[min(int(sample.due_s / planned_s * WINDOWS), WINDOWS - 1)].append(sample.latency_ms)
    spreads = [percentiles(part) for part in parts]
    return [spread.p95 if spread else float("nan") for spread in spreads]


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, help=__doc__)
    command.command(help=__doc__)(main)
    command(prog_name="python -m loadtests.soak")
