"""`rcnn evaluate`: a bundle and labelled images in; a table, metrics.json, a report and a verdict out."""

import asyncio
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table

from model import golden
from model.compare import Difference, compare
from model.datasets import CocoSplit, DatasetInvalid, read_dataset
from model.evaluate import IN_FLIGHT, Evaluation
from model.evaluate import evaluate as evaluate_bundle
from model.parity import over_dataset
from model.report import write_report
from model.terminal import failure, progress_bar
from service.api.options import Options
from service.app import BASELINE
from service.bundle import Bundle, read_bundle, write_bundle
from service.detections import Augmentation
from service.engine.base import EngineOptions
from service.engine.choice import EngineName, create_engine
from service.engine.cpu import cpu_features, has_bf16
from service.engine.precision import Precision
from service.engine.threads import available_cpus
from service.errors import InvalidOption
from service.sketch import Baseline

_PARITY_BATCH = 3  # not a batch size the graphs were traced with
_WORSE = 1


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    dataset: Annotated[Path, typer.Argument(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split to judge on.")] = "val",
    engine: Annotated[str, typer.Option(help="auto, onnx or openvino.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder that gets metrics.json and report.html.")] = None,
    other: Annotated[Path | None, typer.Option("--compare", help="Another bundle, judged on the same images.")] = None,
    max_drop: Annotated[float, typer.Option(min=0, help="Exit 1 if AP is lower than --compare's by more.")] = 0.01,
    tta: Annotated[str, typer.Option(help="Views of each image: flip, scale or flip,scale.")] = "",
    precision: Annotated[Precision, typer.Option(help="Of the engine: fp32, or bf16 on a CPU that has it.")] = "auto",
    write: Annotated[
        bool, typer.Option(help="Keep the result, fp32 and bf16 where the CPU has it: metrics.json, baseline.json.")
    ] = False,
    parity: Annotated[bool, typer.Option(help="Also compare with eager torchvision on every image (slow).")] = False,
    skip_broken: Annotated[bool, typer.Option(help="Leave broken annotations out instead of stopping.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of a table.")] = False,
) -> None:
    """Measure a bundle on labelled images through the path that serves them."""
    try:
        found = read_bundle(bundle)
        data = read_dataset(dataset, split, masks=found.manifest.task == "segmentation", skip_broken=skip_broken)
        for problem in data.skipped:
            typer.echo(f"left out: {problem}", err=True)
        views = Options.parse({"tta": tta}).to_values().tta
        if views and write:
            raise InvalidOption("--write: keeps what is measured without --tta.")
        precision = "fp32" if write and precision == "auto" else precision
        evaluation = _run(bundle, data, engine, views, precision)
        differences = compare(evaluation, _run(other, data, engine, precision=precision)) if other else []
    except (DatasetInvalid, InvalidOption) as error:
        raise failure(error) from error
    metrics = evaluation.metrics
    if differences:
        metrics["compared_with"] = {"bundle": str(other), "AP": [_row(difference) for difference in differences]}
    if parity:
        metrics["parity"] = _parity(found, data, metrics["engine"])
    if write and precision == "fp32" and (faster := faster_precisions(found, data)):
        metrics["precisions"] = faster
    if write:
        keep(found, {name: value for name, value in metrics.items() if name != "compared_with"}, evaluation.baseline)
    if out:
        write_report(out / "report.html", evaluation, differences, str(other))
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
    else:
        _print(bundle, metrics, differences, out)
    if differences and (drop := _drop(differences)) > max_drop:
        typer.echo(f"rcnn: AP is {drop:.4f} lower than {other}'s; at most {max_drop} is allowed", err=True)
        raise typer.Exit(_WORSE)


def _run(
    bundle: Path,
    data: CocoSplit,
    engine: str,
    tta: tuple[Augmentation, ...] = (),
    precision: Precision = "auto",
) -> Evaluation:
    with progress_bar() as progress:
        return asyncio.run(evaluate_bundle(bundle, data, engine, progress, tta, precision))


def faster_precisions(bundle: Bundle, data: CocoSplit) -> dict[str, Any]:
    """
    AP in bf16, by which a server decides whether to use it; nothing where it cannot be measured here.

    What the golden images give in bf16 is written beside what they give in fp32.
    """
    runs_there = "openvino" in (bundle.manifest.engines or ("openvino",))
    if not (runs_there and has_bf16(cpu_features()) and importlib.util.find_spec("openvino")):
        return {}
    asyncio.run(golden.write_expectations(bundle.root, "openvino", "bf16"))
    relisted = write_bundle(bundle.root, bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))
    metrics = _run(relisted.root, data, "openvino", precision="bf16").metrics
    return {"bf16": {kind: {"AP": metrics[kind]["AP"]} for kind in ("box", "mask") if kind in metrics}}


def _row(difference: Difference) -> dict[str, Any]:
    values = {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(difference).items()}
    return {**values, "change": round(difference.change, 4)}


def _drop(differences: Sequence[Difference]) -> float:
    """How much AP over all classes is lower: of masks where both have them, else of boxes."""
    whole = [difference for difference in differences if difference.label == "all"]
    return -whole[-1].change


def keep(bundle: Bundle, metrics: dict[str, Any], baseline: Baseline) -> None:
    """Put what was measured into the bundle's folder, and list it."""
    (bundle.root / BASELINE).write_text(json.dumps(baseline.as_json()) + "\n")
    (bundle.root / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    write_bundle(bundle.root, bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))


def _parity(bundle: Bundle, data: CocoSplit, engine: str) -> dict[str, Any]:
    options = EngineOptions(precision="fp32")  # what is compared is the graph, not the rounding
    runner = create_engine(cast(EngineName, engine), bundle, available_cpus(), options, 0.0, typer.echo)
    return asdict(over_dataset(bundle, runner, data, _PARITY_BATCH))


def _print(bundle: Path, metrics: dict[str, Any], differences: Sequence[Difference], out: Path | None) -> None:
    latency_ms, point = metrics["latency_ms"], metrics["operating_point"]
    typer.echo(f"{bundle}: {metrics['images']} images of {metrics['split']}")
    Console().print(_table(metrics))
    typer.echo(
        f"at score {point['score_threshold']}: "
        f"precision {_figure(point['precision'])}, recall {_figure(point['recall'])}"
        + (f", mean mask IoU {_figure(point['mean_mask_iou'])}" if "mean_mask_iou" in point else "")
        + f"; calibration error (D-ECE) {_figure(metrics['d_ece'])}"
    )
    typer.echo(
        f"engine {metrics['engine']}: one at a time p50 {latency_ms['p50']} ms, p95 {latency_ms['p95']} ms; "
        f"{IN_FLIGHT} in flight {metrics['throughput_images_per_s']} images/s"
    )
    if "parity" in metrics:
        typer.echo(f"against eager torchvision: {metrics['parity']}")
    for row in differences:
        typer.echo(
            f"{row.kind} AP, {row.label}: {row.here:.4f} against {row.there:.4f}, {row.change:+.4f} "
            f"[{row.low:+.4f}, {row.high:+.4f}]"
        )
    if out:
        typer.echo(f"wrote {out / 'report.html'} and {out / 'metrics.json'}")


def _table(metrics: dict[str, Any]) -> Table:
    table = Table("", "AP", "AP50", "AP75", "AR", "small", "medium", "large")
    for kind in ("box", "mask"):
        if kind in metrics:
            whole = metrics[kind]
            sizes = (whole["by_size"][size] for size in ("small", "medium", "large"))
            table.add_row(kind, *map(_figure, [*(whole[key] for key in ("AP", "AP50", "AP75", "AR")), *sizes]))
            for label, row in whole["by_class"].items():
                table.add_row(f"  {label}", *(_figure(row[key]) for key in ("AP", "AP50", "AP75", "AR")))
    return table


def _figure(value: float | None) -> str:
    """A class without truth in the split has no AP."""
    return "–" if value is None else f"{value:.3f}"
