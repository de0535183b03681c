"""`rcnn prune`: a trained model in; one with fewer channels, and how to train it on, out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.architectures import ARCHITECTURES
from model.channels import ChannelsInvalid, widths
from model.checkpoint import Checkpoint, CheckpointInvalid, from_bundle, read_checkpoint, write_checkpoint
from model.datasets import CocoSplit, DatasetInvalid, Samples, read_dataset
from model.prune import gigaflops
from model.prune import prune as take_out
from model.recipes import RecipeInvalid, read_recipe
from model.terminal import failure
from model.views import Batch, batches
from service.errors import ServiceError


def prune(
    what: Annotated[Path, typer.Argument(help="model.pt of `rcnn train`, or a bundle's folder.")],
    data: Annotated[Path, typer.Option(help="Labelled images that tell which channels matter.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Gets model.pt and recipe.json.", file_okay=False)],
    ratio: Annotated[
        list[str], typer.Option(help="Share of channels that goes: 0.3, or PART=0.3 for channels so named; repeat.")
    ],
    recipe: Annotated[
        Path | None, typer.Option(help="recipe.json of a bundle's training; not needed for the shipped ones.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the pruned model.  [default: NAME-pruned]")] = "",
    split: Annotated[str, typer.Option(help="Split of --data.")] = "train",
    images: Annotated[int, typer.Option(min=1, help="How many of them are looked at.")] = 64,
    multiple_of: Annotated[int, typer.Option(min=1, help="Channels left are a multiple of it, for SIMD.")] = 8,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of fine-tuning.  [default: of the last stage]")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-9, help="Of fine-tuning.  [default: of the last stage]")
    ] = None,
) -> None:
    """Take out the channels that matter least; `rcnn train` then makes up for what was lost."""
    try:
        ratios = _ratios(ratio)
        before = _read(what, recipe)
        shown = _shown(before, read_dataset(data, split, masks=_segments(before)), images)
        after = _to_fine_tune(take_out(before, shown, ratios, multiple_of), name, epochs, learning_rate)
        _print(before, after)
        write_checkpoint(after, out / "model.pt")
        (out / "recipe.json").write_text(json.dumps(asdict(after.recipe), indent=2) + "\n")
    except (ChannelsInvalid, CheckpointInvalid, DatasetInvalid, RecipeInvalid, ServiceError) as error:
        raise failure(error) from error
    typer.echo(
        f"wrote {out / 'model.pt'}; next: rcnn train {data} --recipe {out / 'recipe.json'} --init {out / 'model.pt'} "
        f"--teacher {what} --out {out / 'tuned'}"
    )


def _ratios(words: Sequence[str]) -> dict[str, float]:
    """Raises ChannelsInvalid."""
    found = {}
    for word in words:
        beginning, _, number = word.rpartition("=")
        try:
            found[beginning] = float(number)
        except ValueError as error:
            raise ChannelsInvalid(f"--ratio {word!r} is not a share; expected 0.3 or backbone.body=0.3") from error
    return found


def _read(what: Path, recipe: Path | None) -> Checkpoint:
    if what.is_dir():
        return from_bundle(what, read_recipe(recipe) if recipe else None)
    return read_checkpoint(what)


def _shown(checkpoint: Checkpoint, data: CocoSplit, count: int) -> list[Batch]:
    """Views of the last stage, as training draws them. Raises CheckpointInvalid if data has other classes."""
    recipe = checkpoint.recipe
    if data.labels != checkpoint.labels:
        raise CheckpointInvalid(
            f"the model finds {', '.join(checkpoint.labels)}, {data.root} names {', '.join(data.labels)}; "
            "they have to be the same classes in the same order"
        )
    count = min(max(count, recipe.batch), len(data.images))
    chosen = tuple(data.images[index * len(data.images) // count] for index in range(count))
    samples = Samples(replace(data, images=chosen), masks=_segments(checkpoint))
    shown = list(batches(samples, recipe, len(recipe.stages) - 1, 0, 0))
    if not shown:
        raise DatasetInvalid(f"{data.root}: {data.split} has {count} images, fewer than a batch of {recipe.batch}")
    return shown


def _segments(checkpoint: Checkpoint) -> bool:
    return ARCHITECTURES[checkpoint.recipe.architecture].task == "segmentation"


def _to_fine_tune(pruned: Checkpoint, name: str, epochs: int | None, learning_rate: float | None) -> Checkpoint:
    """With its last stage alone, as it is to be trained on."""
    recipe, stage = pruned.recipe, pruned.recipe.stages[-1]
    stage = replace(
        stage,
        epochs=stage.epochs if epochs is None else epochs,
        learning_rate=stage.learning_rate if learning_rate is None else learning_rate,
    )
    return replace(pruned, recipe=replace(recipe, name=name or f"{recipe.name}-pruned", stages=(stage,)))


def _print(before: Checkpoint, after: Checkpoint) -> None:
    old, new = before.build(), after.build()
    table, narrower = Table("channels of", "before", "after"), widths(new)
    for group, width in widths(old).items():
        table.add_row(group, str(width), str(narrower[group]))
    Console().print(table)
    canvas_hw = tuple(before.recipe.preprocess["canvas_grid"][0])
    params = [sum(weight.numel() for weight in model.parameters()) / 1e6 for model in (old, new)]
    work = [gigaflops(model, canvas_hw) for model in (old, new)]
    typer.echo(
        f"parameters {params[0]:.2f} M -> {params[1]:.2f} M; trunk, pyramid and RPN on a canvas of "
        f"{canvas_hw[1]}x{canvas_hw[0]} {work[0]:.2f} -> {work[1]:.2f} GFLOPs (multiply-adds)"
    )
