"""
The shipped blood-cells model behind rcnn and behind other serving systems, side by side.

Each peer gets an environment of its own in .peers/ (made on first use) and is started, measured and stopped in turn, in
rounds. What is measured is added to --out: repeat with --only NAME for one of them, name another folder to begin anew.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests import tables
from loadtests.peers import loads, records, reporting
from loadtests.peers.catalogue import NAMES
from loadtests.peers.measuring import Pace
from loadtests.peers.rounds import Comparison

console = Console(soft_wrap=True, highlight=False)


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(NAMES)}. Repeatable.")] = None,
    load: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(loads.BY_NAME)}. Repeatable.")] = None,
    rounds: Annotated[int, typer.Option(min=0, help="How often the servers take turns; 0 only writes the report.")] = 3,
    step_s: Annotated[float, typer.Option(min=0.5, help="Seconds at each rate.")] = 10.0,
    resolution: Annotated[float, typer.Option(min=1.01, help="How close the last two rates of a search are.")] = 1.1,
    delay_ms: Annotated[float, typer.Option(min=1, help="Of the fake engine, for each batch.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same schedules.")] = 0,
    like: Annotated[
        Path | None, typer.Option(help="peers.jsonl of an earlier run: searches begin where its searches ended.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("loadtests/results/peers"),
) -> None:
    servers = [name for name in NAMES if name in _known(only, NAMES, "server")]
    chosen = [loads.BY_NAME[name] for name in _known(load, list(loads.BY_NAME), "load")]
    path = out / "peers.jsonl"
    pace = Pace(step_s, factor=2.0, resolution=resolution, seed=seed)
    known = records.read(like) if like else []
    Comparison(servers, chosen, pace, delay_ms, path, known, console.print).run(rounds)
    found = records.read(path)
    for table in reporting.tables(found):
        console.print(tables.to_rich(table))
    console.print(f"wrote {path}, {', '.join(map(str, reporting.write(out, found)))}")


def _known(named: list[str] | None, there_are: list[str] | tuple[str, ...], what: str) -> list[str]:
    if unknown := set(named or ()) - set(there_are):
        raise typer.BadParameter(f"no {what} {', '.join(sorted(unknown))}; there are {', '.join(there_are)}")
    return list(named or there_are)


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, help=__doc__)
    command.command(help=__doc__)(main)
    command(prog_name="python -m loadtests.peers")
