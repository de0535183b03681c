"""Weights somebody brings, and what they want fixed at export -> a bundle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from torchvision.models.detection import FasterRCNN, FasterRCNN_ResNet50_FPN_Weights

from model import golden
from model.architectures import ARCHITECTURES, build, set_trunk_eps
from model.canvases import CAMERA_SIZES, Grid, Shape, choose, exact
from model.checkpoint import CheckpointInvalid
from model.datasets import CocoSplit
from model.pack import IMAGENET_MEAN, IMAGENET_STD, Draft, Packed, write
from model.skeleton import skeleton
from model.weights import Weights, download, is_frozen, load, point_options, read_file, readable_labels
from service.bundle import Preprocess


@dataclass(frozen=True)
class Wishes:
    """What is fixed at export. None and empty leave it to the architecture, or to a choice that is printed."""

    name: str = ""
    version: str = "1"
    min_size: int | None = None
    max_size: int | None = None
    canvas_grid: tuple[Shape, ...] = ()
    sizes_hw: tuple[Shape, ...] = ()  # to choose canvases for
    canvases: int = 8
    proposals: int | None = None
    candidates: int = 1000
    max_detections: int = 100
    score_threshold: float = 0.5
    iou_threshold: float = 0.5
    trunk_eps: float | None = None
    opset: int = 17
    half_trunk: bool = False


def find_weights(architecture: str, given: str) -> Weights | None:
    """given is a file, the name of torchvision's own, or `none`. Raises CheckpointInvalid."""
    if architecture not in ARCHITECTURES:
        raise CheckpointInvalid(
            f"{architecture} is neither a checkpoint file nor an architecture; known: {', '.join(ARCHITECTURES)}"
        )
    if given == "none":
        return None
    if Path(given).suffix in (".pth", ".pt", ".safetensors", ".bin", ".ckpt") or Path(given).is_file():
        return read_file(Path(given))
    return download(architecture, given)


def name_classes(given: str, weights: Weights | None) -> tuple[str, ...]:
    """given is `coco`, a file of lines or a,b,c. Raises CheckpointInvalid unless there is a name for each class."""
    if given == "coco":
        names = readable_labels(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
    elif given and Path(given).is_file():
        names = tuple(line.strip() for line in Path(given).read_text().splitlines() if line.strip())
    elif given:
        names = tuple(name.strip() for name in given.split(","))
    elif weights is not None and weights.labels:
        names = weights.labels
    else:
        count = f"{weights.num_classes - 1} class names" if weights else "class names"
        raise CheckpointInvalid(f"the weights do not name their classes; give {count} by --labels")
    if weights is not None and len(names) != weights.num_classes - 1:
        told = f"{weights.source} tells {weights.num_classes - 1} classes from background"
        raise CheckpointInvalid(f"{told}, --labels names {len(names)}")
    return names


def export_brought(
    architecture: str,
    weights: Weights | None,
    labels: tuple[str, ...],
    wishes: Wishes,
    pictures: Sequence[Path],
    examples: CocoSplit | None,
    out_dir: Path,
) -> Packed:
    """Raises CheckpointInvalid if weights or canvases do not fit, NotProven if the graphs answer differently."""
    options = _options(wishes) | point_options(architecture, weights)
    if weights is None:
        model = build(architecture, len(labels) + 1, **options).eval()
    else:
        model = load(architecture, weights, options)
        _settle_eps(architecture, model, weights, wishes.trunk_eps)
    spec = _preprocess(model, wishes, examples)
    draft = Draft(
        name=wishes.name or architecture,
        version=wishes.version,
        architecture=architecture,
        labels=labels,
        options=options,
        preprocess=spec.model_dump(exclude={"mean", "std"}),
        postprocess={
            "score_threshold": wishes.score_threshold,
            "iou_threshold": wishes.iou_threshold,
            "max_detections": wishes.max_detections,
        },
        candidates=wishes.candidates,
        provenance={"weights": weights.source if weights else "none: untrained"},
        keypoints=skeleton(model) if ARCHITECTURES[architecture].task == "keypoints" else None,
        opset=wishes.opset,
        half_trunk=wishes.half_trunk,
    )
    return write(draft, model, _golden(pictures, examples), out_dir)


def _options(wishes: Wishes) -> dict[str, Any]:
    wanted = {
        "min_size": wishes.min_size,
        "max_size": wishes.max_size,
        "rpn_pre_nms_top_n_test": wishes.proposals,
        "rpn_post_nms_top_n_test": wishes.proposals,
        "box_detections_per_img": wishes.max_detections,
        "box_nms_thresh": wishes.iou_threshold,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _settle_eps(architecture: str, model: FasterRCNN, weights: Weights, wanted: float | None) -> None:
    """
    Frozen batch norms do not say their epsilon. torchvision fine-tunes its v1 ResNet-50 detectors with 0 (vision 2933),
    every other with 1e-5.
    """
    if not is_frozen(weights) or architecture.endswith(("_v2", "small_fpn")):
        return
    legacy = 0.0 if architecture.endswith("resnet50_fpn") else None
    eps = next((value for value in (wanted, weights.frozen_eps, legacy) if value is not None), None)
    if eps is not None:
        set_trunk_eps(model, eps)
        typer.echo(f"frozen batch norms in the trunk: epsilon {eps:g}")


def _preprocess(model: FasterRCNN, wishes: Wishes, examples: CocoSplit | None) -> Preprocess:
    """Raises CheckpointInvalid if the canvases wished for cannot hold every image."""
    smallest, largest = int(model.transform.min_size[-1]), int(model.transform.max_size)
    document = {"min_size": smallest, "max_size": largest, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    spec = Preprocess.model_validate(document | {"canvas_grid": [(largest, largest)]})
    try:
        grid = wishes.canvas_grid or _choose(spec, wishes, examples)
        return Preprocess.model_validate(spec.model_dump() | {"canvas_grid": grid})
    except ValueError as error:
        raise CheckpointInvalid(f"--canvas-grid: {error}") from error


def _choose(spec: Preprocess, wishes: Wishes, examples: CocoSplit | None) -> tuple[Shape, ...]:
    """The canvases with the least padding, and what others would cost, printed."""
    source, sizes = "common camera shapes", wishes.sizes_hw or CAMERA_SIZES
    if wishes.sizes_hw:
        source = f"{len(sizes)} sizes given"
    elif examples is not None:
        source = f"the {len(examples.images)} images of {examples.root}"
        sizes = tuple((image["height"], image["width"]) for image in examples.images)
    grids = choose(sizes, spec, wishes.canvases)
    typer.echo(f"canvases chosen for {source}:")
    for grid in grids:
        typer.echo(f"  {_line(grid)}{'  <- chosen' if grid is grids[-1] else ''}")
    typer.echo(f"  {_line(exact(sizes, spec), shown=False)}, every multiple of 32")
    return grids[-1].shapes


def _line(grid: Grid, *, shown: bool = True) -> str:
    shapes = ": " + " ".join(f"{width}x{height}" for height, width in grid.shapes) if shown else ""
    return f"{len(grid.shapes)} canvases, {grid.padding:.1%} padding{shapes}"


def _golden(pictures: Sequence[Path], examples: CocoSplit | None) -> Callable[[Path], None]:
    if pictures:
        return lambda folder: golden.from_files(pictures, folder)
    if examples is not None:
        return lambda folder: golden.from_dataset(examples, folder)
    return golden.drawn
