"""
Draw throughput and p95 against load for three batching policies, and print a table of the closed loop.

    python -m deploy.simulate --out docs
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.simulate.events import Engine
from deploy.simulate.loads import Result, closed_loop, open_loop, poisson
from deploy.simulate.plot import draw
from deploy.simulate.servers import FifoCut, Ours, TimerWindow

MAX_BATCH, CLIENTS, PLACES, TIMEOUT_S = 8, 32, 64, 2.0
POLICIES = {"ours": Ours, "FIFO, cut at a shape change": FifoCut, "timer window, 10 ms": TimerWindow}
CANVASES = (1, 2, 4, 16)
LOADS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0)


def main(
    out: Annotated[Path, typer.Option(help="Folder for batching-load.png.")] = Path("docs"),
    fixed_ms: Annotated[float, typer.Option(help="What a batch costs, whatever it holds.")] = 20.0,
    image_ms: Annotated[float, typer.Option(help="What each image of a batch adds.")] = 0.0,
    seconds: Annotated[float, typer.Option(help="Simulated time of each run.")] = 20.0,
) -> None:
    """Simulate three batching policies on 1, 2, 4 and 16 canvases."""
    engine = Engine(fixed_ms / 1e3, image_ms / 1e3)
    Console().print(_closed_table(engine, seconds))
    curves = {canvases: {name: _curve(name, engine, canvases, seconds) for name in POLICIES} for canvases in CANVASES}
    file = out / "batching-load.png"
    draw(curves, engine.capacity_hz(MAX_BATCH), file)
    typer.echo(f"wrote {file}")


def _curve(name: str, engine: Engine, canvases: int, seconds: float) -> list[Result]:
    results = []
    for load in LOADS:
        requests = poisson(load * engine.capacity_hz(MAX_BATCH), canvases, seconds, TIMEOUT_S)
        results.append(open_loop(POLICIES[name](MAX_BATCH), engine, requests, seconds, PLACES))
    return results


def _closed_table(engine: Engine, seconds: float) -> Table:
    table = Table(title=f"{CLIENTS} callers in a closed loop: images a second (mean batch)")
    table.add_column("canvases")
    for name in POLICIES:
        table.add_column(name, justify="right")
    for canvases in CANVASES:
        cells = []
        for policy in POLICIES.values():
            result = closed_loop(policy(MAX_BATCH), engine, canvases, CLIENTS, seconds)
            cells.append(f"{result.answered_hz:.0f} ({result.mean_batch:.1f})")
        table.add_row(str(canvases), *cells)
    return table


if __name__ == "__main__":
    typer.run(main)
