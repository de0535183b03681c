"""`rcnn trade-off`: variants of a bundle in; a table, trade-off.json and trade-off.png out."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.datasets import DatasetInvalid, read_dataset
from model.terminal import failure, progress_bar
from model.trade_off import Outcome, hold_side_by_side, on_the_front
from model.trade_off_plot import draw
from model.variants import VariantInvalid, parse
from service.bundle import read_bundle
from service.errors import BundleInvalid, InvalidOption


def trade_off(
    data: Annotated[Path, typer.Argument(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    variants: Annotated[
        list[str],
        typer.Argument(help="BUNDLE[,engine=onnx][,precision=bf16][,tta=flip+scale][,scale=0.8][,name=...] each."),
    ],
    split: Annotated[str, typer.Option(help="Split to judge on.")] = "val",
    images: Annotated[int | None, typer.Option(min=1, help="Judge on that many images.  [default: all]")] = None,
    timed_images: Annotated[int, typer.Option(min=1, help="How many of them each variant is timed on.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="How often each of those is timed.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Folder that gets trade-off.json and trade-off.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print trade-off.json instead of a table.")] = False,
) -> None:
    """AP against latency and size for variants of a bundle, judged alike and timed in turns."""
    try:
        chosen = [parse(text) for text in variants]
        found = read_bundle(chosen[0].bundle)
        judged_on = read_dataset(data, split, masks=found.manifest.task == "segmentation").evenly(images)
        with progress_bar() as progress:
            timed = min(timed_images, len(judged_on.images))
            outcomes = asyncio.run(hold_side_by_side(chosen, judged_on, timed, rounds, progress))
    except (VariantInvalid, BundleInvalid, DatasetInvalid, InvalidOption) as error:
        raise failure(error) from error
    rows = [asdict(one) | {"on_the_front": is_on} for one, is_on in zip(outcomes, on_the_front(outcomes), strict=True)]
    document = {"split": split, "images": len(judged_on.images), "variants": rows}
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        Console().print(_table(outcomes))
    if out:
        title = f"{found.manifest.name}, {len(judged_on.images)} images of {split}"
        draw(outcomes, title, out / "trade-off.png")
        (out / "trade-off.json").write_text(json.dumps(document, indent=2) + "\n")


def _table(outcomes: list[Outcome]) -> Table:
    """A row a figure and a column a variant: figures are many, and a terminal has 80 columns."""
    table = Table("", *(f"{one.name} ({one.engine}, {one.precision})" for one in outcomes))
    for name in (kind := f"{outcomes[0].kind} AP", "AP50", *outcomes[0].by_size, *outcomes[0].by_class):
        parts = ({kind: one.ap, "AP50": one.ap50, **one.by_size, **one.by_class}.get(name) for one in outcomes)
        table.add_row(name, *("–" if part is None else f"{part:.3f}" for part in parts))
    table.add_section()
    table.add_row("ms", *(f"{one.latency_ms:.0f}" for one in outcomes))
    table.add_row("times the first's", *(f"{one.ratio:.2f}" for one in outcomes))
    table.add_row("MB", *(f"{one.graphs_mb:.1f}" for one in outcomes))
    table.add_row("on the front", *("*" if is_on else "" for is_on in on_the_front(outcomes)))
    table.caption = "* none is both quicker and better"
    return table
