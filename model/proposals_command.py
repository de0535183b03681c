"""`rcnn proposals`: regions that may hold objects, into a file; and how many objects such files find."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from model.checkpoint import CheckpointInvalid, read_checkpoint
from model.classic.figures import draw_recall
from model.classic.proposals.make import Propose, make_proposals, truths_of
from model.classic.proposals.proposals_file import Proposals, ProposalsInvalid, read_proposals, write_proposals
from model.classic.proposals.recall import COUNTS, Recall, measure_recall
from model.classic.proposals.rpn import rpn_proposer
from model.classic.proposals.selective_search import MODES, selective_search
from model.datasets import CocoSplit, DatasetInvalid, read_dataset
from model.terminal import failure, progress_bar

app = typer.Typer(help="Regions that may hold objects: make a file of them, measure what such files find.")


@app.command()
def make(
    dataset: Annotated[Path, typer.Argument(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    out: Annotated[Path, typer.Argument(help="File to write: .npz, or .json.", dir_okay=False)],
    mode: Annotated[str, typer.Option(help=f"Of selective search: {', '.join(MODES)}.")] = "fast",
    rpn: Annotated[
        Path | None, typer.Option(help="Instead: the region proposal network of this model.pt of rcnn train.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to make them for.")] = "val",
    size: Annotated[int | None, typer.Option(min=16, help="Resize the shorter side to this; not if left out.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Proposals an image.")] = 2000,
    smallest: Annotated[float, typer.Option(min=0, help="Shortest side of a proposal, in resized pixels.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the order among groupings.")] = 0,
) -> None:
    """Selective search, or a trained region proposal network, on every image of a split."""
    if mode not in MODES:
        raise typer.BadParameter(f"--mode {mode!r} is not one of {', '.join(MODES)}")
    try:
        data = read_dataset(dataset, split)
        propose: Propose = partial(selective_search, mode=mode, most=most, smallest_px=smallest, seed=seed)
        method = f"selective search, {mode}"
        if rpn:
            checkpoint = read_checkpoint(rpn)
            trained = replace(checkpoint, recipe=replace(checkpoint.recipe, proposals=most)).build()
            propose, method = rpn_proposer(trained), f"RPN of {checkpoint.recipe.architecture}"
    except (DatasetInvalid, CheckpointInvalid) as error:
        raise failure(error) from error
    with progress_bar() as progress:
        found = make_proposals(data, propose, method, size, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_proposals(out, found)
    mean = np.mean([len(image.boxes_xyxy) for image in found.images.values()])
    typer.echo(f"wrote {out}: {mean:.0f} proposals an image for {len(found.images)} images")


@app.command()
def recall(
    dataset: Annotated[Path, typer.Argument(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    files: Annotated[list[Path], typer.Argument(help="Proposals files, each a method to compare.", dir_okay=False)],
    split: Annotated[str, typer.Option(help="Split they were made for.")] = "val",
    plot: Annotated[Path | None, typer.Option(help="Picture of the curves: .png, .svg or .pdf.")] = None,
) -> None:
    """Recall of proposals against IoU and against their number, for each file."""
    try:
        data = read_dataset(dataset, split)
        recalls = [_measured(data, read_proposals(path)) for path in files]
    except (DatasetInvalid, ProposalsInvalid) as error:
        raise failure(error) from error
    for row in recalls:
        typer.echo(_line(row))
    if plot:
        draw_recall(plot, recalls, f"{dataset.resolve().name}, split {split}: {len(data.images)} images")
        typer.echo(f"wrote {plot}")


def _measured(data: CocoSplit, proposals: Proposals) -> Recall:
    boxes: Sequence[NDArray[np.float32]] = [image.boxes_xyxy for image in proposals.of(data)]
    return measure_recall(proposals.method, truths_of(data), boxes)


def _line(row: Recall) -> str:
    """AR is the mean of recall over IoU 0.5 to 1."""
    shown = [count for count in COUNTS if count >= 100]
    parts = [f"{row.method}: {row.proposals_per_image:.0f} proposals an image, AR {row.average:.3f}"]
    for threshold in (0.5, 0.7):
        values = row.against_count(threshold)[-len(shown) :]
        cells = (f"{value:.3f} with {count}" for value, count in zip(values, shown, strict=True))
        parts.append(f"recall at IoU {threshold:g}: {', '.join(cells)}")
    return "; ".join(parts)
