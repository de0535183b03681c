"""`rcnn samples`: the images and answers kept for review, for those who have the key."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.sampling.redaction import unpack
from service.sampling.seal import new_key, read_seal
from service.sampling.store import SampleStore

FAILURE = 1

app = typer.Typer(name="samples", help="The images and answers kept for review.")
Url = Annotated[str, typer.Argument(help="Where they are: the samples_url of the service.")]
Key = Annotated[
    Path | None, typer.Option(help="File of keys, the samples_key of the service.", exists=True, dir_okay=False)
]


@app.command()
def key() -> None:
    """Print a new key, a line for the file of samples_key. The first line seals; all of them open."""
    typer.echo(new_key())


@app.command("list")
def list_(url: Url, key: Key = None, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """One line a sample, the oldest first. Exit 1: some could not be opened."""
    store, failed = _store(url, key), list[str]()
    table = Table("name", "kept for", "model", "source", "found", box=None)
    for name, _, answer in _read(store, store.names(), failed):
        if as_json:
            typer.echo(json.dumps({"name": name, **answer}))
        model = f"{answer['model']['name']} {answer['model']['version']}"
        why, source = ", ".join(answer["reasons"]), answer["source"] or ""
        table.add_row(name, why, model, source, str(len(answer["detections"])))
    if not as_json:
        Console(width=None if Console().is_terminal else 160).print(table)
    _exit(failed)


@app.command()
def show(
    url: Url,
    names: Annotated[list[str] | None, typer.Argument(help="Those of these names; all if left out.")] = None,
    key: Key = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.png and NAME.json.")] = Path("samples"),
) -> None:
    """Write samples, opened, into a folder. They are then protected by nothing but the folder."""
    store, failed = _store(url, key), list[str]()
    out.mkdir(parents=True, exist_ok=True)
    for name, png, answer in _read(store, names or store.names(), failed):
        stem = name.rsplit(".", 1)[0]
        (out / f"{stem}.png").write_bytes(png)
        (out / f"{stem}.json").write_text(json.dumps(answer, indent=1), encoding="utf-8")
        typer.echo(str(out / f"{stem}.png"))
    _exit(failed)


def _store(url: str, key: Path | None) -> SampleStore:
    """For reading: it removes nothing."""
    return SampleStore(url, read_seal(key) if key else None, max_bytes=0, ttl_s=0)


def _read(store: SampleStore, names: list[str], failed: list[str]) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """(name, PNG, answer) of each that can be opened; failed gets a sentence for each that cannot."""
    for name in names:
        try:
            yield name, *unpack(store.read(name))
        except (ValueError, OSError) as error:
            failed.append(f"rcnn samples: {error}")


def _exit(failed: list[str]) -> None:
    for sentence in failed:
        typer.echo(sentence, err=True)
    if failed:
        raise typer.Exit(FAILURE)
