"""`rcnn gate calibrate`: the margin of disagreement, stated in AP."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.judge.calibration import Point


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="The stable bundle.")],
    data: Annotated[Path, typer.Option(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "val",
    engine: Annotated[str, typer.Option(help="auto, onnx or openvino.")] = "auto",
    ap_loss: Annotated[float, typer.Option(min=0, max=1, help="AP that a release may lose.")] = 0.01,
    images: Annotated[int, typer.Option(min=1, help="Images asked, at most.")] = 200,
    out: Annotated[Path | None, typer.Option(help="File that gets the mapping as JSON.", dir_okay=False)] = None,
) -> None:
    """Measure what disagreement means in AP, for a margin stated in AP (--disagreement); exit 3 if none can."""
    from deploy.judge.calibration import calibrate as measure
    from deploy.judge.calibration import margin
    from model.datasets import DatasetInvalid, read_dataset
    from model.terminal import failure
    from service.bundle import read_bundle
    from service.errors import BundleInvalid

    try:
        masks = read_bundle(bundle).manifest.task == "segmentation"
        labelled = read_dataset(data, split, masks=masks)
        labelled = replace(labelled, images=labelled.images[:images])
        with tempfile.TemporaryDirectory() as folder:
            points = measure(bundle, labelled, engine, Path(folder), lambda name: typer.echo(f"asked {name}", err=True))
    except (DatasetInvalid, BundleInvalid, OSError) as error:
        failure(error)
        raise typer.Exit(2) from error
    allowed = margin(points, ap_loss)
    _tell(points, ap_loss, allowed)
    if out:
        said = {"ap_loss": ap_loss, "disagreement": allowed, "dataset_fingerprint": labelled.fingerprint()}
        document = {"schema_version": 1, **said, "points": [asdict(point) for point in points]}
        out.write_text(json.dumps(document, indent=2) + "\n")
    raise typer.Exit(3 if allowed is None else 0)


def _tell(points: Sequence["Point"], ap_loss: float, allowed: float | None) -> None:
    from deploy.judge.calibration import loss_at

    typer.echo(f"{'variant':28} {'disagreement':>12} {'AP lost':>8}  95 % interval")
    for point in points:
        interval = f"[{point.low:+.4f}, {point.high:+.4f}]"
        typer.echo(f"{point.name:28} {point.disagreement:12.4f} {point.ap_loss:+8.4f}  {interval}")
    if allowed is None:
        least = points[0].disagreement
        lost = f"already at {least:.4f} a variant lost {loss_at(points, least):.4f} AP"
        typer.echo(f"{lost}: a loss of {ap_loss:g} cannot be told by disagreement")
    else:
        words = f"up to a disagreement of {allowed:.4f} none lost more than {ap_loss:g} AP"
        typer.echo(f"{words}: --disagreement {allowed:.4f}")
    usual = loss_at(points, 0.05)
    if usual is not None:
        typer.echo(f"at the default margin of 0.05 a variant may lose {usual:.4f} AP")
