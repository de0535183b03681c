"""`rcnn export` and `rcnn architectures`: weights become a bundle, or one line says why not."""

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.architectures import ARCHITECTURES
from model.brought import Wishes, export_brought, find_weights, name_classes
from model.canvases import Shape
from model.checkpoint import CheckpointInvalid, read_checkpoint
from model.datasets import CocoSplit, DatasetInvalid, read_dataset
from model.pack import NotProven, Packed, pack
from model.terminal import failure
from service.bundle import Bundle
from service.errors import ServiceError

_TABLE_WIDTH = 150  # where there is no terminal to fit


def architectures() -> None:
    """Every architecture with the evidence for it."""
    table = Table("name", "task", "params M", "GFLOPs", "box AP", "mask AP", "keypoint AP", "source")
    for name, architecture in ARCHITECTURES.items():
        evidence = architecture.evidence
        aps = (evidence.box_ap, evidence.mask_ap, evidence.keypoint_ap)
        figures = [
            f"{evidence.params / 1e6:.2f}",
            f"{evidence.gflops:.1f}",
            *("–" if v is None else str(v) for v in aps),
        ]
        table.add_row(name, architecture.task, *figures, evidence.source)
    console = Console()
    (console if console.is_terminal else Console(width=_TABLE_WIDTH)).print(table)
    typer.echo("AP in percent on COCO val2017; GFLOPs are multiply-adds.")


def export(
    what: Annotated[str, typer.Argument(help="A name from `rcnn architectures`, or model.pt of `rcnn train`.")],
    out: Annotated[Path, typer.Option(help="Folder that gets <name>/<version>/.")],
    weights: Annotated[str, typer.Option(help="A .pth or .safetensors file, COCO_V1, or none (untrained).")] = "none",
    labels: Annotated[str, typer.Option(help="Classes without background: a,b,c, a file of lines, or coco.")] = "",
    name: Annotated[str, typer.Option(help="Name of the bundle; the architecture's if left out.")] = "",
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1",
    data: Annotated[Path | None, typer.Option(help="Labelled images: golden examples, sizes.")] = None,
    split: Annotated[str, typer.Option(help="Split of --data.")] = "val",
    golden: Annotated[list[Path] | None, typer.Option(help="A picture to check by; may be repeated.")] = None,
    min_size: Annotated[int | None, typer.Option(min=32, help="Pixels the shorter side is brought to.")] = None,
    max_size: Annotated[int | None, typer.Option(min=32, help="Pixels the longer side may not pass.")] = None,
    canvas_grid: Annotated[str, typer.Option(help="Canvases WIDTHxHEIGHT,...; chosen if left out.")] = "",
    sizes: Annotated[str, typer.Option(help="Image sizes to choose for: WIDTHxHEIGHT,... or a file of them.")] = "",
    canvases: Annotated[int, typer.Option(min=2, help="Most canvases chosen.")] = 8,
    proposals: Annotated[int | None, typer.Option(min=1, help="Proposals kept; torchvision's own by default.")] = None,
    candidates: Annotated[int, typer.Option(min=1, help="K: candidates an image hands to NMS.")] = 1000,
    max_detections: Annotated[int, typer.Option(min=1, help="Most detections reported by default.")] = 100,
    score_threshold: Annotated[float, typer.Option(min=0, max=1, help="Least score reported by default.")] = 0.5,
    iou_threshold: Annotated[float, typer.Option(min=0, max=1, help="Overlap NMS allows by default.")] = 0.5,
    trunk_eps: Annotated[float | None, typer.Option(help="Epsilon of frozen batch norms (docs/export.md).")] = None,
    opset: Annotated[int, typer.Option(min=16, max=20, help="ONNX opset.")] = 17,
    svd: Annotated[
        str, typer.Option(help="Ranks fc6,fc7 of a classic model's fully connected layers: truncated SVD, 1024,256.")
    ] = "",
    fp16: Annotated[bool, typer.Option("--fp16", help="Compute backbone and pyramid in fp16.")] = False,
) -> None:
    """Turn weights into a bundle that rcnn serve can load; written only if it answers as eager torchvision does."""
    try:
        examples = read_dataset(data, split) if data else None
        if Path(what).is_file():
            bundle = _export_trained(Path(what), version, examples, out, _ranks(svd))
        else:
            wishes = Wishes(
                name, version, min_size, max_size, _shapes(canvas_grid), _shapes(sizes), canvases, proposals,
                candidates, max_detections, score_threshold, iou_threshold, trunk_eps, opset, fp16,
            )  # fmt: skip
            found = find_weights(what, weights)
            named = name_classes(labels, found)
            bundle = _report(export_brought(what, found, named, wishes, golden or [], examples, out))
    except (CheckpointInvalid, DatasetInvalid, NotProven, ServiceError) as error:
        raise failure(error) from error
    size_mb = sum(path.stat().st_size for path in bundle.root.rglob("*") if path.is_file()) / 1e6
    after = f"rcnn evaluate {bundle.root} {data}" if data else f"rcnn serve --bundles {bundle.root}"
    typer.echo(f"wrote {bundle.root} ({size_mb:.1f} MB, {bundle.digest[:19]}); next: {after}")


def _export_trained(
    checkpoint: Path, version: str, examples: CocoSplit | None, out: Path, ranks: tuple[int, int] | None
) -> Bundle:
    if examples is None:
        raise CheckpointInvalid(f"{checkpoint} needs --data: its golden examples are labelled images")
    trained = read_checkpoint(checkpoint)
    return pack(trained if ranks is None else trained.truncated(ranks), version, examples, out)


def _ranks(text: str) -> tuple[int, int] | None:
    """Raises CheckpointInvalid."""
    if not text:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4}),([1-9]\d{0,4})", text)
    if found is None:
        raise CheckpointInvalid(f"--svd {text!r} is not two ranks; expected fc6,fc7 such as 1024,256")
    return int(found[1]), int(found[2])


def _shapes(text: str) -> tuple[Shape, ...]:
    """WIDTHxHEIGHT words, or the file that holds them -> (height, width). Raises CheckpointInvalid."""
    words = (Path(text).read_text() if text and Path(text).is_file() else text).replace(",", " ").split()
    found = [re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", word) for word in words]
    if None in found:
        raise CheckpointInvalid(f"{words[found.index(None)]!r} is not a size; expected WIDTHxHEIGHT such as 640x480")
    return tuple((int(match[2]), int(match[1])) for match in found if match)


def _report(packed: Packed) -> Bundle:
    """How it was proven, and a warning where the proof is about nothing."""
    for engine, parity in packed.parity.items():
        typer.echo(
            f"{engine}: {parity.detections} detections equal to eager torchvision's but {parity.flips} that hang on "
            f"rounding; worst {parity.worst_box_px:.2g} px, {parity.worst_score:.2g} in score"
        )
    if not sum(packed.golden_counts.values()):
        typer.echo("nothing is detected on any golden picture: the self-check proves little; give --golden pictures")
    return packed.bundle
