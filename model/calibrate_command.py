"""`rcnn calibrate`: a bundle and labelled images it was not trained on in; the same bundle with honest scores out."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model import golden
from model.average_precision import Matches
from model.calibrate import FOLDS, LEAST_EACH, Fit, Goal, HeldOut, NotCalibrated, fit, hold_out
from model.calibration_report import write_report
from model.datasets import CocoSplit, DatasetInvalid, read_dataset
from model.evaluate import Evaluation, evaluate
from model.evaluate_command import keep
from model.operating_point import reliability
from model.terminal import failure, progress_bar
from service.bundle import Bundle, Manifest, read_bundle, write_bundle
from service.postprocess.confidence import on_line
from service.signature import FILE as SIGNATURE_FILE


@dataclass(frozen=True)
class _Calibrated:
    """What was found out, before anything is written."""

    before: Evaluation
    fitted: Fit
    held_out: HeldOut
    goal: Goal | None

    @property
    def by_class(self) -> dict[str, Matches]:
        return _by_label(self.before)


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    data: Annotated[Path, typer.Option(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split to fit on; not the one the model was trained on.")] = "val",
    precision: Annotated[float | None, typer.Option(min=0.01, max=1, help="Wanted of every class.")] = None,
    recall: Annotated[float | None, typer.Option(min=0.01, max=1, help="Wanted of every class.")] = None,
    engine: Annotated[str, typer.Option(help="auto, onnx or openvino.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Gets NAME/VERSION/; without it nothing is written.")] = None,
    version: Annotated[str | None, typer.Option(help="Of the new bundle.  [default: OLD-calibrated]")] = None,
    report: Annotated[Path | None, typer.Option(help="An HTML file to write.", dir_okay=False)] = None,
) -> None:
    """Make scores the share of detections that are right, and choose thresholds by class."""
    if precision is not None and recall is not None:
        raise typer.BadParameter("--precision and --recall: one of them decides the threshold")
    try:
        source = read_bundle(bundle)
        labelled = read_dataset(data, split, masks=source.manifest.task == "segmentation")
        _check_unseen(source, labelled)
        root = _place(source, version or f"{source.manifest.version}-calibrated", out) if out else None
        found = _calibrated(source, labelled, engine, _goal(precision, recall))
        _print(found)
        if report:
            write_report(report, found.before, found.held_out)
            typer.echo(f"wrote {report}")
        if root:
            after = _write(source, found, labelled, root, engine)
            _print_written(root, found.before, after)
    except (DatasetInvalid, NotCalibrated) as error:
        raise failure(error) from error


def _goal(precision: float | None, recall: float | None) -> Goal | None:
    if precision is not None:
        return Goal("precision", precision)
    return Goal("recall", recall) if recall is not None else None


def _check_unseen(source: Bundle, data: CocoSplit) -> None:
    """Raises NotCalibrated where a fit would say nothing about other images, or is there already."""
    if source.manifest.calibration is not None:
        raise NotCalibrated(f"{source.root} is calibrated already; calibrate the bundle it was made of")
    trained_on = source.manifest.provenance.get("dataset")
    if isinstance(trained_on, dict) and trained_on.get("fingerprint") == data.fingerprint():
        raise NotCalibrated(
            f"{data.root}, split {data.split}, is what {source.id.name} was trained on: it is too sure there; "
            "name labelled images it has not seen"
        )


def _place(source: Bundle, version: str, out: Path) -> Path:
    root = out / source.manifest.name / version
    if root.exists():
        raise NotCalibrated(f"{root} is there already; choose another --version or --out")
    return root


def _calibrated(source: Bundle, data: CocoSplit, engine: str, goal: Goal | None) -> _Calibrated:
    before = _evaluated(source.root, data, engine)
    by_class = _by_label(before)
    return _Calibrated(before, fit(by_class, goal), hold_out(by_class, goal), goal)


def _evaluated(root: Path, data: CocoSplit, engine: str) -> Evaluation:
    with progress_bar() as progress:
        return asyncio.run(evaluate(root, data, engine, progress))


def _by_label(evaluation: Evaluation) -> dict[str, Matches]:
    return dict(zip(evaluation.data.labels, evaluation.by_class["box"], strict=True))


def _write(source: Bundle, found: _Calibrated, data: CocoSplit, root: Path, engine: str) -> Evaluation:
    """The new bundle at root: its golden answers, metrics and baseline are measured again; -> how it was judged."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        draft = Path(temporary) / root.name
        shutil.copytree(source.root, draft, ignore=shutil.ignore_patterns("manifest.json", SIGNATURE_FILE))
        manifest = _manifest(source, found, root.name)
        write_bundle(draft, manifest)
        asyncio.run(golden.write_expectations(draft))
        golden.keep_what_all_find(write_bundle(draft, manifest))
        after = _evaluated(write_bundle(draft, manifest).root, data, engine)
        keep(write_bundle(draft, manifest), {**_old_metrics(source), **after.metrics}, after.baseline)
        draft.rename(root)
    return after


def _old_metrics(source: Bundle) -> dict[str, Any]:
    """What calibration does not touch stays known: parity, and what faster precisions lose."""
    if "metrics.json" not in source.manifest.files:
        return {}
    metrics: dict[str, Any] = json.loads(source.path("metrics.json").read_bytes())
    return {name: metrics[name] for name in ("parity", "precisions") if name in metrics}


def _manifest(source: Bundle, found: _Calibrated, version: str) -> dict[str, Any]:
    old, fitted = source.manifest, found.fitted
    lines = {label: asdict(line) for label, line in fitted.by_class.items()}
    document = old.model_dump(mode="json", exclude={"files", "schema_version"})
    return document | {
        "version": version,
        "calibration": {"common": asdict(fitted.common), "by_class": lines},
        "postprocess": document["postprocess"]
        | {
            "score_threshold": float(on_line(old.postprocess.score_threshold, fitted.common)),
            "class_score_thresholds": {**_same_as_before(old, fitted), **fitted.thresholds},
        },
        "provenance": old.provenance | {"calibration": _provenance(source, found)},
    }


def _same_as_before(old: Manifest, fitted: Fit) -> dict[str, float]:
    """Thresholds that report what the bundle's own reported, in calibrated scores."""
    return {
        label: float(on_line(old.postprocess.least_score(label), fitted.line(label)))
        for label in old.labels
        if label in fitted.by_class or label in old.postprocess.class_score_thresholds
    }


def _provenance(source: Bundle, found: _Calibrated) -> dict[str, Any]:
    data = found.before.data
    return {
        "made_of": source.digest,
        "dataset": {"split": data.split, "images": len(data.images), "fingerprint": data.fingerprint()},
        "goal": asdict(found.goal) if found.goal else None,
        "d_ece_before": found.before.reliability.error,
        "d_ece_held_out": _error(found.held_out.by_class),
        "folds": FOLDS,
    }


def _error(by_class: Mapping[str, Matches]) -> float | None:
    return reliability(list(by_class.values())).error


def _print(found: _Calibrated) -> None:
    table = Table("", "found", "temp.", "bias", "D-ECE", "held out", "threshold", "precision", "recall")
    for label, before in found.by_class.items():
        line, after = found.fitted.line(label), found.held_out.by_class[label]
        table.add_row(
            label if label in found.fitted.by_class else f"{label} *",
            str(int(before.counted[0].sum())),
            f"{line.temperature:.2f}",
            f"{line.bias:+.2f}",
            *map(_figure, (reliability([before]).error, reliability([after]).error)),
            *map(_figure, (found.fitted.thresholds.get(label), *_reached(found, label))),
        )
    Console().print(table)
    if len(found.fitted.by_class) < len(found.by_class):
        typer.echo(f"* fewer than {LEAST_EACH} right or wrong ones: by the line of all classes together")
    data, images = found.before.data, len(found.before.data.images)
    typer.echo(
        f"D-ECE {_figure(found.before.reliability.error)} before, {_figure(_error(found.held_out.by_class))} held out; "
        f"held out: {FOLDS} parts of {images} images of {data.split}, each judged by a fit to the others"
    )


def _reached(found: _Calibrated, label: str) -> tuple[float | None, float | None]:
    if label not in found.fitted.thresholds:
        return None, None
    return found.held_out.precision[label], found.held_out.recall[label]


def _print_written(root: Path, before: Evaluation, after: Evaluation) -> None:
    kind = list(after.by_class)[-1]
    typer.echo(
        f"wrote {root}: {kind} AP {before.metrics[kind]['AP']} before, {after.metrics[kind]['AP']} as written; "
        f"precision {before.metrics['operating_point']['precision']} before, "
        f"{after.metrics['operating_point']['precision']} at its thresholds"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
