"""Processes that `make bench` starts: each prints JSON lines on stdout, because loadtests/ imports nothing of these."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def engines(
    model: Annotated[str, typer.Option(help="maskrcnn_resnet50_fpn, or the name of a shipped bundle.")],
    rounds: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """One image to its detections: torchvision eager, its stock export, and our graphs on each engine, taking turns."""
    from model.bench import engines as measured

    typer.echo(json.dumps(measured.measure(model, rounds)))


@app.command()
def masks(rounds: Annotated[int, typer.Option(min=1)] = 5) -> None:
    """Mask probabilities to run lengths: ours beside torchvision's paste and pycocotools."""
    from model.bench import masks as measured

    typer.echo(json.dumps(measured.measure(rounds)))


@app.command()
def bare(
    bundle: Annotated[Path, typer.Option(help="A bundle folder.")],
    engine: Annotated[str, typer.Option(help="onnx or openvino.")],
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch.")],
) -> None:
    """The engine alone on the bundle's golden images: for every line on stdin, that many seconds -> images a second."""
    from model.bench import bare as measured

    runner = measured.Bare(bundle, engine, batch)
    typer.echo("ready")
    sys.stdout.flush()
    for line in sys.stdin:
        typer.echo(json.dumps(runner.images_per_s(float(line))))
        sys.stdout.flush()


if __name__ == "__main__":
    app()
