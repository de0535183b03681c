"""`rcnn train`: a labelled folder in, a checkpoint, a bundle and its measured AP out."""

import asyncio
import json
import pickle  # nosec B403  # only its error is named
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from model.architectures import ARCHITECTURES
from model.channels import ChannelsInvalid
from model.checkpoint import CheckpointInvalid, read_checkpoint
from model.datasets import CocoSplit, DatasetInvalid, Samples, has_split, read_dataset
from model.distillation import Shares, Teacher, TeacherUnfit, check_teacher, read_teacher
from model.evaluate import evaluate
from model.pack import pack
from model.plan import plan, trainable
from model.recipes import RECIPES, Recipe, RecipeInvalid, read_recipe
from model.terminal import failure, progress_bar
from model.tracking import Mlflow, TensorBoard, Trackers
from model.train import Run, RunMismatch, epochs_done
from model.train import train as fit
from service.engine.cpu import cpu_features, has_bf16
from service.engine.threads import available_cpus
from service.errors import ServiceError

_CUDA_WORKERS = 8
_REFUSED = (
    DatasetInvalid, RecipeInvalid, RunMismatch, CheckpointInvalid, ChannelsInvalid, TeacherUnfit, ServiceError
)  # fmt: skip


def train(
    dataset: Annotated[Path, typer.Argument(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder of the run; training goes on from what is there.")],
    architecture: Annotated[str, typer.Option("--arch", help=f"One of: {', '.join(trainable())}.")] = "",
    recipe: Annotated[str, typer.Option(help=f"Instead of --arch: {', '.join(RECIPES)}, or a recipe.json.")] = "",
    split: Annotated[str, typer.Option(help="Split to train on.")] = "train",
    val_split: Annotated[
        str, typer.Option(help="Split the bundle is judged on; none if it has no such split.")
    ] = "val",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data (with --arch).")] = 30,
    batch: Annotated[int, typer.Option(min=1, help="Images a step (with --arch).")] = 4,
    learning_rate: Annotated[float, typer.Option(min=1e-9, help="The highest of one cycle (with --arch).")] = 4e-4,
    size: Annotated[int, typer.Option(min=64, help="Shorter side of the views in pixels (with --arch).")] = 480,
    seed: Annotated[int, typer.Option(min=0, help="Of every random number (with --arch).")] = 1,
    alternating: Annotated[
        bool,
        typer.Option(
            "--alternating/--joint", help="A classic Faster R-CNN in its paper's four steps, --epochs each; or at once."
        ),
    ] = True,
    name: Annotated[str, typer.Option(help="Of the bundle; the folder's name if left out.")] = "",
    init: Annotated[
        Path | None, typer.Option(help="State dict (.pth) to fine-tune; what fits by name is taken.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Bundle or model.pt of the same classes to learn from too (docs/smaller.md).")
    ] = None,
    teacher_logits: Annotated[float, typer.Option(min=0, help="Share of the teacher's class scores.")] = 1.0,
    teacher_boxes: Annotated[float, typer.Option(min=0, help="Share of its boxes.")] = 0.5,
    teacher_features: Annotated[float, typer.Option(min=0, help="Share of its pyramid.")] = 1.0,
    amp: Annotated[
        bool | None,
        typer.Option("--amp/--no-amp", help="Convolutions in bfloat16. Default: on a GPU, and on a CPU that has it."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that make views. Default: 0, 8 on a GPU.")
    ] = None,
    mlflow: Annotated[str | None, typer.Option(help="MLflow store: http(s)://server or sqlite:///file.db.")] = None,
    skip_broken: Annotated[bool, typer.Option(help="Leave broken annotations out instead of stopping.")] = False,
    bundle: Annotated[bool, typer.Option("--bundle/--no-bundle", help="Export and judge a bundle at the end.")] = True,
) -> None:
    """Train a detector on labelled images; an interrupted run goes on where it stopped."""
    if bool(architecture) == bool(recipe):
        raise typer.BadParameter("give either --arch or --recipe")
    if architecture and architecture not in trainable():
        raise typer.BadParameter(f"--arch {architecture!r} is not one of {', '.join(trainable())}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        written = _recipe(recipe) if recipe else None
        masks = ARCHITECTURES[written.architecture if written else architecture].task == "segmentation"
        data = read_dataset(dataset, split, masks=masks, skip_broken=skip_broken)
        judged = _validation(dataset, val_split, masks=masks, skip_broken=skip_broken)
        chosen = written or plan(
            data,
            architecture,
            name=name or dataset.resolve().name,
            size_px=size,
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            alternating=alternating,
        )
        shares = Shares(teacher_logits, teacher_boxes, teacher_features)
        on_gpu = device.type == "cuda"
        run = Run(
            recipe=chosen,
            data=data,
            out_dir=out,
            device=device,
            half_precision=(on_gpu or has_bf16(cpu_features())) if amp is None else amp,
            workers=(min(_CUDA_WORKERS, available_cpus()) if on_gpu else 0) if workers is None else workers,
            start=None if init is None else _state_dict(init),
            teacher=None if teacher is None else _teacher(teacher, shares, chosen, data),
        )
        _say_what_is_left_out(data)
        _run(run, masks, judged if bundle else None, mlflow)
    except (*_REFUSED, FloatingPointError) as error:
        raise failure(error) from error


def _run(run: Run, masks: bool, judged: CocoSplit | None, mlflow: str | None) -> None:
    run.out_dir.mkdir(parents=True, exist_ok=True)
    (run.out_dir / "recipe.json").write_text(json.dumps(asdict(run.recipe), indent=2) + "\n")
    with _trackers(run, mlflow) as trackers, progress_bar() as progress:
        trackers.params(_params(run))
        checkpoint = fit(run, Samples(run.data, masks=masks), trackers, progress)
        typer.echo(f"wrote {checkpoint}")
        if judged is None:
            return
        packed = pack(read_checkpoint(checkpoint), "1", judged, run.out_dir / "bundles")
        metrics = asyncio.run(evaluate(packed.root, judged, "auto", progress)).metrics
        trackers.metrics(_flat({kind: metrics[kind] for kind in ("box", "mask") if kind in metrics}), run.recipe.epochs)
        trackers.artefacts(packed.root, "bundle")
    typer.echo(f"wrote {packed.root}: box AP {metrics['box']['AP']}, AP50 {metrics['box']['AP50']} on {judged.split}")


def _trackers(run: Run, mlflow: str | None) -> Trackers:
    board = TensorBoard(run.out_dir / "tensorboard", epochs_done(run))
    if mlflow is None:
        return Trackers(board)
    try:
        return Trackers(board, Mlflow(mlflow, "rcnn", run.recipe.name, run.out_dir / "mlflow-run-id.txt"))
    except ImportError as error:
        raise typer.BadParameter(f"--mlflow needs rcnn[mlflow] installed ({error})") from error


def _params(run: Run) -> dict[str, Any]:
    identity = run.identity()
    fingerprint = identity.pop("dataset fingerprint")
    return {
        **identity,
        "dataset.root": str(run.data.root),
        "dataset.split": run.data.split,
        "dataset.images": len(run.data.images),
        "dataset.fingerprint": fingerprint,
        "labels": list(run.data.labels),
        "device": run.device.type,
    }


def _flat(values: dict[str, Any], prefix: str = "val") -> dict[str, float]:
    """Nested figures by path, those that are undefined left out."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}/{name}")
        elif isinstance(value, int | float):
            found[f"{prefix}/{name}"] = float(value)
    return found


def _recipe(name: str) -> Recipe:
    """A shipped recipe by name, or one written down. Raises RecipeInvalid."""
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if not path.is_file():
        raise RecipeInvalid(f"--recipe {name} is neither a file nor one of {', '.join(RECIPES)}")
    return read_recipe(path)


def _teacher(path: Path, shares: Shares, recipe: Recipe, data: CocoSplit) -> Teacher:
    """Checked before the data is read into memory. Raises CheckpointInvalid, TeacherUnfit, ServiceError."""
    teacher = read_teacher(path, shares)
    check_teacher(teacher, recipe.architecture, data.labels)
    return teacher


def _validation(dataset: Path, split: str, *, masks: bool, skip_broken: bool) -> CocoSplit | None:
    """Checked before training starts, not after it; None if the dataset has no such split."""
    if not has_split(dataset, split):
        typer.echo(f"{dataset} has no split {split}: no bundle is made; rcnn export makes one", err=True)
        return None
    return read_dataset(dataset, split, masks=masks, skip_broken=skip_broken)


def _say_what_is_left_out(data: CocoSplit) -> None:
    for problem in data.skipped:
        typer.echo(f"left out: {problem}", err=True)


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointInvalid(f"--init {path} is not a readable state dict: {error}") from error
    state: dict[str, torch.Tensor] = document.get("state_dict", document)
    return state
