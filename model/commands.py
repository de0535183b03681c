"""The commands that make and judge models. Imported only when one of them is called."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table

from model.checkpoint import CheckpointInvalid, read_checkpoint
from model.datasets import CocoSplit, DatasetInvalid, read_dataset
from model.evaluate import evaluate as evaluate_bundle
from model.pack import pack
from model.parity import over_dataset
from model.terminal import failure, progress_bar
from model.train_command import train
from service.bundle import Bundle, read_bundle, write_bundle
from service.engine.base import EngineOptions
from service.engine.choice import EngineName, create_engine
from service.engine.threads import available_cpus
from service.logs import configure_logs

_PARITY_BATCH = 3  # not a batch size the graphs were traced with

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def quiet() -> None:
    """The service's own log lines would drown a command's output."""
    configure_logs("warning", "console")


Data = Annotated[Path, typer.Option(help="Folder with <split>.json (COCO annotations) and images/.", file_okay=False)]


app.command()(train)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="model.pt written by rcnn train.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder that gets <name>/<version>/.")],
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1",
    split: Annotated[str, typer.Option(help="Annotation file whose images become golden examples.")] = "val",
) -> None:
    """Turn a trained checkpoint into a bundle that rcnn serve can load."""
    try:
        bundle = pack(read_checkpoint(checkpoint), version, read_dataset(data, split), out)
    except (CheckpointInvalid, DatasetInvalid) as error:
        raise failure(error) from error
    size_mb = sum(path.stat().st_size for path in bundle.root.rglob("*") if path.is_file()) / 1e6
    typer.echo(
        f"wrote {bundle.root} ({size_mb:.1f} MB, {bundle.digest[:19]}); next: rcnn evaluate {bundle.root} {data}"
    )


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    data: Annotated[Path, typer.Argument(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    split: Annotated[str, typer.Option(help="Annotation file to judge on.")] = "val",
    engine: Annotated[str, typer.Option(help="auto, onnx or openvino.")] = "auto",
    write: Annotated[bool, typer.Option(help="Keep the result in the bundle as metrics.json.")] = False,
    parity: Annotated[bool, typer.Option(help="Also compare with eager torchvision on every image (slow).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of a table.")] = False,
) -> None:
    """Measure AP on labelled images through the path that serves them."""
    try:
        images = read_dataset(data, split)
        with progress_bar() as progress:
            metrics = asyncio.run(evaluate_bundle(bundle, images, engine, progress))
    except DatasetInvalid as error:
        raise failure(error) from error
    if parity:
        metrics["parity"] = _parity(read_bundle(bundle), images, metrics["engine"])
    if write:
        found = read_bundle(bundle)
        (found.root / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        write_bundle(found.root, found.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
    else:
        _print(bundle, metrics)


def _parity(bundle: Bundle, data: CocoSplit, engine: str) -> dict[str, Any]:
    runner = create_engine(cast(EngineName, engine), bundle, available_cpus(), EngineOptions(), 0.0, typer.echo)
    return asdict(over_dataset(bundle, runner, data, _PARITY_BATCH))


def _print(bundle: Path, metrics: dict[str, Any]) -> None:
    latency_ms = metrics["latency_ms"]
    typer.echo(f"{bundle}: {metrics['images']} images of {metrics['split']}")
    Console().print(_table(metrics))
    typer.echo(
        f"engine {metrics['engine']}, one image at a time: p50 {latency_ms['p50']} ms, p95 {latency_ms['p95']} ms"
    )
    if "parity" in metrics:
        typer.echo(f"against eager torchvision: {metrics['parity']}")


def _table(metrics: dict[str, Any]) -> Table:
    table = Table("", "AP", "AP50", "AP75")
    for kind in ("box", "mask"):
        if kind in metrics:
            whole = metrics[kind]
            table.add_row(kind, *(_figure(whole[key]) for key in ("AP", "AP50", "AP75")))
            for label, row in whole["by_class"].items():
                table.add_row(f"  {label}", *(_figure(row[key]) for key in ("AP", "AP50")), "")
    return table


def _figure(value: float | None) -> str:
    """A class without truth in the split has no AP."""
    return "–" if value is None else f"{value:.3f}"
