"""`rcnn quantise`: a bundle and labelled images in; an int8 bundle out, or the reason why not."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model import golden
from model.bench.precisions import Timed, timed
from model.datasets import CocoSplit, DatasetInvalid, read_dataset
from model.evaluate import Evaluation, evaluate
from model.evaluate_command import keep
from model.quantise import Layers, Method, NotQuantised
from model.quantise import quantise as quantise_detector
from model.terminal import failure, progress_bar
from service.bundle import Bundle, read_bundle, write_bundle
from service.signature import FILE as SIGNATURE_FILE

_TIMED_ROUNDS = 30


@dataclass(frozen=True)
class _Plan:
    """What to make, of what, and how it is judged."""

    source: Bundle
    calibration: CocoSplit
    judged_on: CocoSplit
    method: Method
    max_drop: float
    root: Path


def quantise(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    data: Annotated[Path, typer.Option(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Gets NAME/VERSION/.", file_okay=False)],
    calibrate_on: Annotated[str, typer.Option(help="Split whose images tell how large activations get.")] = "train",
    calibration_images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 32,
    method: Annotated[Method, typer.Option(help="From what was seen to a range.")] = "minmax",
    split: Annotated[str, typer.Option(help="Split to judge on.")] = "val",
    images: Annotated[int | None, typer.Option(min=1, help="Judge on that many images.  [default: all]")] = None,
    max_drop: Annotated[float, typer.Option(min=0, help="AP that may be lost, in all and in any class.")] = 0.01,
    version: Annotated[str | None, typer.Option(help="Of the new bundle.  [default: OLD-int8]")] = None,
) -> None:
    """Run the detector in int8 on ONNX Runtime, if that costs no more AP than allowed."""
    try:
        source = read_bundle(bundle)
        masks = source.manifest.task == "segmentation"
        calibration, judged_on = read_dataset(data, calibrate_on, masks=masks), read_dataset(data, split, masks=masks)
        root = out / source.manifest.name / (version or f"{source.manifest.version}-int8")
        if root.exists():
            raise NotQuantised(f"{root} is there already; choose another --version or --out")
        plan = _Plan(
            source,
            calibration.evenly(calibration_images),
            judged_on.evenly(images),
            method,
            max_drop,
            root,
        )
        _make(plan)
    except (DatasetInvalid, NotQuantised) as error:
        raise failure(error) from error


def _make(plan: _Plan) -> None:
    """Raises NotQuantised, with nothing written, where too much AP is lost."""
    plan.root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=plan.root.parent) as temporary:
        draft = Path(temporary) / plan.root.name
        shutil.copytree(plan.source.root, draft, ignore=shutil.ignore_patterns("manifest.json", SIGNATURE_FILE))
        paths = [plan.calibration.image_path(image) for image in plan.calibration.images]
        layers = quantise_detector(plan.source, paths, plan.method, draft / "detector.onnx")
        write_bundle(draft, _manifest(plan, layers))
        asyncio.run(golden.write_expectations(draft))
        made = write_bundle(draft, _manifest(plan, layers))
        before, after = (_evaluated(root, plan.judged_on) for root in (plan.source.root, draft))
        _print(plan, layers, before, after, timed(plan.source, made, _TIMED_ROUNDS))
        if lost := _lost_too_much(before, after, plan.max_drop):
            raise NotQuantised(f"not written: {'; '.join(lost)}; at most {plan.max_drop:g} is allowed")
        keep(write_bundle(draft, _manifest(plan, layers, before, after)), after.metrics, after.baseline)
        draft.rename(plan.root)
    typer.echo(f"wrote {plan.root}")


def _evaluated(root: Path, data: CocoSplit) -> Evaluation:
    """Both on ONNX Runtime: the difference is that of the graphs alone."""
    with progress_bar() as progress:
        return asyncio.run(evaluate(root, data, "onnx", progress))


def _rows(evaluation: Evaluation) -> dict[str, float]:
    """AP by what it is of: every kind, all classes and each that has truth."""
    found: dict[str, float] = {}
    for kind in evaluation.by_class:
        whole = evaluation.metrics[kind]
        rows = {"all": whole, **whole["by_class"]}
        found |= {f"{kind}, {label}": float(row["AP"]) for label, row in rows.items() if row["AP"] is not None}
    return found


def _lost_too_much(before: Evaluation, after: Evaluation, max_drop: float) -> list[str]:
    old, new = _rows(before), _rows(after)
    return [f"AP of {name} {old[name]:.4f} -> {new[name]:.4f}" for name in old if old[name] - new[name] > max_drop]


def _manifest(
    plan: _Plan, layers: Layers, before: Evaluation | None = None, after: Evaluation | None = None
) -> dict[str, Any]:
    document = plan.source.manifest.model_dump(mode="json", exclude={"files", "schema_version"})
    provenance = {name: value for name, value in plan.source.manifest.provenance.items() if name != "parity"}
    data = plan.calibration
    quantised: dict[str, Any] = {
        "made_of": plan.source.digest,
        "method": plan.method,
        "calibration": {"split": data.split, "images": len(data.images), "fingerprint": data.fingerprint()},
        "int8_layers": len(layers.int8),
        "left_out": list(layers.left_out),
    }
    if before and after:
        quantised |= {"max_drop": plan.max_drop, "AP_before": _rows(before), "AP_after": _rows(after)}
    provenance |= {"weights_stored_as": "int8, else fp32", "quantisation": quantised}
    # The same int8 graph answers differently on OpenVINO, beyond what golden answers allow.
    return document | {"version": plan.root.name, "provenance": provenance, "engines": ["onnx"]}


def _print(plan: _Plan, layers: Layers, before: Evaluation, after: Evaluation, times: list[Timed]) -> None:
    seen, judged_on = plan.calibration, plan.judged_on
    typer.echo(
        f"{len(layers.int8)} layers in int8 by {plan.method} over {len(seen.images)} images of {seen.split}, "
        f"{len(layers.left_out)} left out; judged on {len(judged_on.images)} of {judged_on.split}"
    )
    table, old, new = Table("AP", "before", "int8", "change"), _rows(before), _rows(after)
    for name, value in old.items():
        table.add_row(name, f"{value:.4f}", f"{new[name]:.4f}", f"{new[name] - value:+.4f}")
    Console().print(table)
    for row in times:
        typer.echo(f"{row.name}: median {row.median_ms:.1f} ms of one processor, {row.ratio:.2f} of the fastest fp32")
