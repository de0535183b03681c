"""`rcnn drift`: what a running service sees, beside what its models were judged on."""

import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from service.sketch import bars

DRIFTED, USAGE, UNDECIDED = 1, 2, 3

app = typer.Typer(name="drift", help="Does the world still look as it did when the model was judged?")


@app.callback()
def _group() -> None:
    """Commands about drift."""


@app.command()
def report(
    url: Annotated[str, typer.Option(help="The metrics port of a running service.")] = "http://localhost:8002",
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with an API key of scope metrics.", exists=True, dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the service says.")] = False,
) -> None:
    """Draw each signal's distribution, then and now. Exit 0: none has drifted, 1: one has, 3: too few images."""
    headers = {"X-Api-Key": api_key_file.read_text().strip()} if api_key_file else {}
    try:
        found = httpx.get(f"{url}/drift", headers=headers, timeout=10).raise_for_status().json()
    except httpx.HTTPError as error:
        typer.echo(f"rcnn drift: {url} does not say: {error}", err=True)
        raise typer.Exit(USAGE) from error
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        draw(found, Console())
    raise typer.Exit(verdict(found))


def verdict(found: dict[str, Any]) -> int:
    """The exit code. found: by model and source, as Drift.report gives it."""
    signals = [row for sources in found.values() for part in sources.values() for row in part["signals"].values()]
    if any(row["drifted"] for row in signals):
        return DRIFTED
    return 0 if signals else UNDECIDED


def draw(found: dict[str, Any], console: Console) -> None:
    """A table for each model and source."""
    if not found:
        console.print("No model here has a baseline, or drift is off; rcnn evaluate --write gives a bundle one.")
    for model, sources in found.items():
        for source, part in sources.items():
            title = f"{model}{f' from {source}' if source else ''}: the last {part['images']} images looked at"
            if part["signals"]:
                console.print(_table(title, part["signals"]))
            else:
                console.print(f"{model}{f' from {source}' if source else ''}: fewer than 50 images looked at so far")


def _table(title: str, signals: dict[str, Any]) -> Table:
    table = Table("signal", "judged on", "now", "PSI", "above", "", title=title, title_justify="left")
    for signal, row in signals.items():
        drifted = "[red]drifted[/red]" if row["drifted"] else ""
        then, now = (bars(row[key]) for key in ("baseline", "window"))
        table.add_row(signal, then, now, f"{row['psi']:.3f}", f"{row['threshold_psi']:.3f}", drifted)
    return table
