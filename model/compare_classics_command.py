"""`rcnn compare-classics`: R-CNN, SPPnet, Fast and Faster R-CNN trained and judged side by side on one dataset."""

import json
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import torch
import typer
from torchvision.models.detection import FasterRCNN

from model.classic.comparison import (
    Plan,
    Prepared,
    document_of,
    judged,
    prepare,
    pretrained,
    seconds_an_image,
    trained,
)
from model.classic.figures import draw_anchors, draw_comparison
from model.classic.proposals.make import make_proposals
from model.classic.proposals.proposals_file import ProposalsInvalid, read_proposals, write_proposals
from model.classic.proposals.rpn import rpn_proposer
from model.classic.systems import SYSTEMS, Shape, System
from model.classic.trunks import TrunkName
from model.datasets import DatasetInvalid, read_dataset
from model.terminal import failure, progress_bar

_NAMES = ", ".join(system.name for system in SYSTEMS)


def compare_classics(
    dataset: Annotated[Path, typer.Argument(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder of the comparison; what is trained there is not trained again.")],
    train_proposals: Annotated[Path, typer.Option(help="Proposals of split train: rcnn proposals make.")],
    val_proposals: Annotated[Path, typer.Option(help="Proposals of split val.")],
    system: Annotated[list[str] | None, typer.Option(help=f"Only these; may be repeated: {_NAMES}.")] = None,
    trunk: Annotated[str, typer.Option(help="vgg16 or zf, from scratch, with batch normalisation.")] = "zf",
    width: Annotated[float, typer.Option(help="Part of the trunk's channels.")] = 0.5,
    hidden: Annotated[int, typer.Option(help="Outputs of fc6 and fc7 (the papers': 4096).")] = 256,
    size: Annotated[int, typer.Option(min=32, help="Shorter side of the images.")] = 240,
    square: Annotated[int, typer.Option(min=32, help="Side of R-CNN's warped regions (the paper's: 227).")] = 64,
    anchors: Annotated[str, typer.Option(help="Sides of Faster R-CNN's anchors in resized pixels.")] = "20,45,90",
    proposals: Annotated[int, typer.Option(min=1, help="Proposals an image.")] = 2000,
    steps: Annotated[int, typer.Option(min=1, help="Of each stage of gradient descent.")] = 600,
    pretraining_steps: Annotated[int, typer.Option(min=1, help="Of the trunk all begin with.")] = 400,
    learning_rate: Annotated[float, typer.Option(min=1e-9, help="The highest of each stage.")] = 0.005,
    timed_images: Annotated[int, typer.Option(min=1, help="Images that all systems are timed on in turn.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of every random number.")] = 0,
) -> None:
    """Train the four classic systems on the same trunk and data; compare time, disk and average precision."""
    chosen = [row for row in SYSTEMS if not system or row.name in system]
    if not chosen or len(chosen) < len(system or []):
        raise typer.BadParameter(f"--system {', '.join(system or [])}: expected some of {_NAMES}")
    out.mkdir(parents=True, exist_ok=True)
    try:
        train_split = prepare(read_dataset(dataset, "train"), read_proposals(train_proposals), size, proposals)
        val_split = prepare(read_dataset(dataset, "val"), read_proposals(val_proposals), size, proposals)
        shape = Shape(_trunk(trunk), width, True, hidden, square, _sides(anchors), _largest(train_split, val_split))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        plan = Plan(shape, size, steps, pretraining_steps, learning_rate, device, seed)
        document = _compared(chosen, plan, train_split, val_split, out, timed_images)
    except (DatasetInvalid, ProposalsInvalid, FloatingPointError, ValueError) as error:
        raise failure(error) from error
    (out / "comparison.json").write_text(json.dumps(document, indent=2) + "\n")
    draw_comparison(out / "comparison.png", document)
    first = val_split.samples[0]
    draw_anchors(out / "anchors.png", first.image, first.boxes_xyxy, shape.anchor_sides_px)
    typer.echo(table(document))
    typer.echo(f"wrote comparison.json, comparison.png and anchors.png into {out}")


def _compared(
    systems: list[System], plan: Plan, train: Prepared, val: Prepared, out: Path, timed_images: int
) -> dict[str, Any]:
    detectors, found = {}, {}
    first = pretrained(plan, train, out)
    with progress_bar() as progress:
        task = progress.add_task("judging", total=len(systems) * len(val.samples))
        for row in systems:
            typer.echo(f"{row.name}: training", err=True)
            model = trained(row, plan, train, first, out)
            if isinstance(model, FasterRCNN):
                proposed = make_proposals(
                    val.data, rpn_proposer(model), f"RPN of {row.name}", plan.shorter_px, progress
                )
                write_proposals(out / "rpn-val.npz", proposed)
            detectors[row.name] = row.as_detector(model)
            found[row.name] = judged(row.name, detectors[row.name], val, out, lambda: progress.advance(task))
            typer.echo(f"{row.name}: AP50 {found[row.name].figures['AP50']}", err=True)
    return document_of(systems, plan, found, seconds_an_image(detectors, val, timed_images), val, out)


def table(document: dict[str, Any]) -> str:
    """The comparison as a Markdown table."""
    lines = ["| system | training, CPU s | features on disk, MB | an image, CPU s | with proposals | AP50 | AP |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, row in document["systems"].items():
        seconds, megabytes = row["seconds_an_image"], row["feature_bytes"] / 1e6
        lines.append(
            f"| {name} | {sum(row['cpu_s'].values()):.0f} | {megabytes:.0f} | {seconds['without_proposals']:.3f} "
            f"| {seconds['with_proposals']:.3f} | {row['AP50']:.3f} | {row['AP']:.3f} |"
        )
    last = list(document["systems"])[-1]
    for name, less in document[f"{last} less the others"].items():
        words = f"{less['AP']:+.3f}, 95 % interval over images {less['low']:+.3f} to {less['high']:+.3f}"
        lines.append(f"AP of {last} less that of {name}: {words}")
    return "\n".join(lines)


def _trunk(name: str) -> TrunkName:
    if name not in get_args(TrunkName):
        raise typer.BadParameter(f"--trunk {name!r} is not one of {', '.join(get_args(TrunkName))}")
    return cast(TrunkName, name)


def _sides(words: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--anchors {words!r}: expected sides in pixels, such as 20,45,90") from error


def _largest(*splits: Prepared) -> tuple[int, int]:
    shapes = [sample.image.shape for split in splits for sample in split.samples]
    return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
