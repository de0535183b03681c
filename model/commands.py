"""The commands that make and judge models. Imported only when one of them is called."""

from pathlib import Path
from typing import Annotated

import typer

from model.checkpoint import CheckpointInvalid, read_checkpoint
from model.datasets import DatasetInvalid, read_dataset
from model.evaluate_command import evaluate
from model.pack import pack
from model.terminal import failure
from model.train_command import train
from service.logs import configure_logs

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def quiet() -> None:
    """The service's own log lines would drown a command's output."""
    configure_logs("warning", "console")


Data = Annotated[Path, typer.Option(help="Folder with <split>.json (COCO annotations) and images/.", file_okay=False)]


app.command()(train)
app.command()(evaluate)


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
