"""`rcnn quantise`: a bundle and labelled images in; an int8 bundle out, or the reason why not."""

import asyncio
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from model import golden
from model.bench.precisions import timed
from model.datasets import CocoSplit, DatasetInvalid, read_dataset
from model.evaluate import Evaluation, evaluate
from model.evaluate_command import faster_precisions, keep
from model.quantise import Method, Quantiser
from model.quantise_inputs import NotQuantised
from model.quantise_report import ap_rows, lost_too_much, tell
from model.sensitivity import Sensitivity, by_layer, plans
from model.terminal import failure, progress_bar
from service.bundle import Bundle, read_bundle, write_bundle
from service.errors import BundleInvalid
from service.signature import FILE as SIGNATURE_FILE

_TIMED_ROUNDS = 30
Int8Engine = Literal["onnx", "openvino"]


@dataclass(frozen=True)
class _Plan:
    """What to make, of what, and how it is judged."""

    source: Bundle
    calibration: CocoSplit
    judged_on: CocoSplit
    method: Method
    engine: Int8Engine
    max_drop: float
    searched_on: int  # images; 0: no search
    leave_out: Sequence[str]
    root: Path


@dataclass(frozen=True)
class _Made:
    """An int8 bundle beside its source: what runs in int8, what was left out for its cost, what both found."""

    int8: tuple[str, ...]
    ranking: Sequence[Sensitivity]
    before: Evaluation
    after: Evaluation


def quantise(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    data: Annotated[Path, typer.Option(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Gets NAME/VERSION/.", file_okay=False)],
    calibrate_on: Annotated[str, typer.Option(help="Split whose images tell how large activations get.")] = "train",
    calibration_images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 32,
    method: Annotated[Method, typer.Option(help="From what was seen to a range.")] = "minmax",
    engine: Annotated[Int8Engine, typer.Option(help="That will run it, and on which it is judged.")] = "onnx",
    split: Annotated[str, typer.Option(help="Split to judge on.")] = "val",
    images: Annotated[int | None, typer.Option(min=1, help="Judge on that many images.  [default: all]")] = None,
    max_drop: Annotated[float, typer.Option(min=0, help="AP that may be lost, in all and in any class.")] = 0.01,
    search: Annotated[
        int, typer.Option(min=0, help="Where more is lost, leave out the layers that move answers to that many images.")
    ] = 0,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="Part of the names of detector layers to keep in floating point. Repeatable."),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Of the new bundle.  [default: OLD-int8]")] = None,
) -> None:
    """Run the detector in int8 on one engine, if that costs no more AP than allowed."""
    try:
        source = read_bundle(bundle)
        masks = source.manifest.task == "segmentation"
        calibration, judged_on = read_dataset(data, calibrate_on, masks=masks), read_dataset(data, split, masks=masks)
        root = out / source.manifest.name / (version or f"{source.manifest.version}-int8")
        if root.exists():
            raise NotQuantised(f"{root} is there already; choose another --version or --out")
        calibration, judged_on = calibration.evenly(calibration_images), judged_on.evenly(images)
        _make(_Plan(source, calibration, judged_on, method, engine, max_drop, search, leave_out or (), root))
    except (DatasetInvalid, NotQuantised, BundleInvalid) as error:
        raise failure(error) from error


def _make(plan: _Plan) -> None:
    """Raises NotQuantised, with nothing written, where too much AP is lost."""
    plan.root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=plan.root.parent) as temporary:
        draft, paper = Path(temporary) / plan.root.name, Path(temporary) / "paper"
        paper.mkdir()
        shutil.copytree(plan.source.root, draft, ignore=shutil.ignore_patterns("manifest.json", SIGNATURE_FILE))
        paths = [plan.calibration.image_path(image) for image in plan.calibration.images]
        symmetric = plan.engine == "openvino"
        quantiser = Quantiser(plan.source, paths, plan.method, paper, symmetric=symmetric, leave_out=plan.leave_out)
        made = _within(plan, quantiser, draft, paper)
        _keep(plan, quantiser, made, draft)
        times = timed(plan.source, read_bundle(draft), _TIMED_ROUNDS)
        seen = f"{plan.method} over {len(paths)} images of {plan.calibration.split}"
        tell(seen, quantiser, made.int8, made.ranking, made.before, made.after, times)
        if lost := lost_too_much(made.before, made.after, plan.max_drop):
            raise NotQuantised(f"not written: {'; '.join(lost)}; at most {plan.max_drop:g} is allowed")
        draft.rename(plan.root)
    typer.echo(f"wrote {plan.root}")


def _within(plan: _Plan, quantiser: Quantiser, draft: Path, paper: Path) -> _Made:
    """The draft in int8; where that loses too much and a search is wanted, without more and more of what costs most."""
    before = _evaluated(plan, plan.source.root)
    ranking: list[Sensitivity] = []

    def ranked() -> list[Sensitivity]:
        few = plan.calibration.evenly(plan.searched_on)
        paths = [few.image_path(image) for image in few.images]
        with progress_bar() as progress:
            ranking.extend(by_layer(quantiser, plan.source, paths, plan.engine, paper, progress))
        return ranking

    quantiser.write_mask_head(draft / "mask_head.onnx")
    for left_out in plans(ranked):
        int8 = quantiser.write(draft / "detector.onnx", left_out)
        after = _judged(plan, draft)
        if not plan.searched_on or not lost_too_much(before, after, plan.max_drop):
            break
    return _Made(int8, ranking, before, after)


def _keep(plan: _Plan, quantiser: Quantiser, made: _Made, draft: Path) -> None:
    """Into the draft: what it is, and what was measured; what stays in floating point may run in bf16, too."""
    bundle = write_bundle(draft, _manifest(plan, quantiser, made))
    faster = faster_precisions(bundle, plan.judged_on)
    keep(bundle, made.after.metrics | ({"precisions": faster} if faster else {}), made.after.baseline)


def _judged(plan: _Plan, draft: Path) -> Evaluation:
    document = _document(plan)
    write_bundle(draft, document)
    asyncio.run(golden.write_expectations(draft, plan.engine))
    write_bundle(draft, document)
    return _evaluated(plan, draft)


def _evaluated(plan: _Plan, root: Path) -> Evaluation:
    """Both on the same engine: the difference is that of the graphs alone."""
    with progress_bar() as progress:
        return asyncio.run(evaluate(root, plan.judged_on, plan.engine, progress, precision="fp32"))


def _document(plan: _Plan) -> dict[str, Any]:
    document = plan.source.manifest.model_dump(mode="json", exclude={"files", "schema_version"})
    # The same int8 graph answers differently on another engine, beyond what golden answers allow.
    return document | {"version": plan.root.name, "engines": [plan.engine]}


def _manifest(plan: _Plan, quantiser: Quantiser, made: _Made) -> dict[str, Any]:
    provenance = {name: value for name, value in plan.source.manifest.provenance.items() if name != "parity"}
    data, kept = plan.calibration, quantiser.layers
    quantised = {
        "made_of": plan.source.digest,
        "method": plan.method,
        "engine": plan.engine,
        "calibration": {"split": data.split, "images": len(data.images), "fingerprint": data.fingerprint()},
        "int8_layers": len(made.int8),
        "int8_mask_layers": len(quantiser.mask_layers.int8) if quantiser.mask_layers else 0,
        "left_out": [*kept.left_out, *_without(kept.int8, made.int8)],
        "left_out_for_its_cost": _without(kept.int8, made.int8),
        "max_drop": plan.max_drop,
        "AP_before": ap_rows(made.before),
        "AP_after": ap_rows(made.after),
    }
    provenance |= {"weights_stored_as": "int8, else fp32", "quantisation": quantised}
    return _document(plan) | {"provenance": provenance}


def _without(names: Sequence[str], others: Collection[str]) -> list[str]:
    return [name for name in names if name not in others]
