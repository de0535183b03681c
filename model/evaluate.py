"""A bundle judged on labelled images through the very path that serves it, in one pass; pycocotools is the oracle."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from model.average_precision import KINDS, Matches, figures, judge, matches_by_class
from model.baseline import above, make_baseline
from model.datasets import CocoSplit, DatasetInvalid
from model.operating_point import (
    MATCH_IOU,
    ImageMatch,
    Reliability,
    confusion,
    match_image,
    mean_iou,
    precision_recall,
    reliability,
)
from service.app import Service
from service.detections import Answer, Augmentation, DetectOptions, RleMask
from service.engine.precision import Precision
from service.images import decode
from service.models import ServedModel
from service.postprocess.confidence import calibrated
from service.settings import read_settings
from service.signals import observe
from service.sketch import Baseline

SCORE_FLOOR = 0.05  # torchvision's own; below it detections cost time and move AP by hundredths
IN_FLIGHT = 8  # requests at once while throughput is measured


@dataclass(frozen=True)
class Evaluation:
    """metrics.json, and what a report or a comparison needs beyond it. Images and classes are in data's order."""

    data: CocoSplit
    identity: dict[str, str]  # name, version, digest, architecture
    score_threshold: float
    metrics: dict[str, Any]
    curves: dict[str, NDArray[np.float64]]  # by kind: precision (10 IoUs, 101 recalls, classes), -1 where undefined
    by_class: dict[str, list[Matches]]  # by kind
    images: list[ImageMatch]  # at the operating threshold
    outlines: list[list[dict[str, Any]]]  # of the detections in images, compressed run lengths; empty without masks
    confusion: NDArray[np.int64]  # (classes + 1, classes + 1)
    reliability: Reliability
    baseline: Baseline


@dataclass(frozen=True)
class _Pass:
    """The answers to all images, in order; the first half one at a time, the others IN_FLIGHT at once."""

    answers: list[Answer]
    alone: int
    together_s: float


async def evaluate(
    bundle: Path,
    data: CocoSplit,
    engine: str,
    progress: Progress,
    tta: tuple[Augmentation, ...] = (),
    precision: Precision = "auto",
) -> Evaluation:
    """
    Ask the served model once about every image, with the views of tta. Raises DatasetInvalid if it knows none of
    data's classes, InvalidOption if it cannot be shown such views.

    Requests go through service.predictor: the AP measured is the AP served.
    """
    settings = read_settings(bundles=str(bundle), engine=engine, engine_precision=precision, default_timeout_ms=600_000)
    service = Service(settings)
    await service.load()
    try:
        model = service.models.get()
        _check_labels(model, data)
        options = _everything(model, tta)
        passed = await _ask(service, data, options, progress)
        baseline = await asyncio.to_thread(_baseline, service, data, passed.answers)
        judged = _judged(model, data, passed, baseline)
        return replace(judged, metrics={"tta": list(tta), **judged.metrics}) if tta else judged
    finally:
        await service.unload()


def _everything(model: ServedModel, tta: tuple[Augmentation, ...]) -> DetectOptions:
    """All the model gives SCORE_FLOOR or more itself, whatever calibration makes of that: AP stays comparable."""
    manifest = model.bundle.manifest
    calibration, ids = manifest.score_calibration(), np.arange(1, len(manifest.labels) + 1)
    floors = np.full(len(ids), SCORE_FLOOR, np.float32)
    if calibration is not None:
        floors = calibrated(floors, ids, calibration)
    return DetectOptions(
        score_threshold=SCORE_FLOOR,
        class_score_thresholds={name: float(least) for name, least in zip(manifest.labels, floors, strict=True)},
        masks="rle" if model.segments else "none",
        tta=tta,
    )


def _check_labels(model: ServedModel, data: CocoSplit) -> None:
    labels = model.bundle.manifest.labels
    if not set(labels) & set(data.labels):
        raise DatasetInvalid(f"{data.root} has {', '.join(data.labels)}; {model.id.name} finds {', '.join(labels)}")


async def _ask(service: Service, data: CocoSplit, options: DetectOptions, progress: Progress) -> _Pass:
    task = progress.add_task(f"evaluating {service.models.get().id.name}", total=len(data.images))
    places = asyncio.Semaphore(IN_FLIGHT)

    async def ask(image: dict[str, Any]) -> Answer:
        async with places:
            answer = await service.predictor.predict(data.image_path(image).read_bytes(), options)
            progress.update(task, advance=1)
            return answer

    alone = (len(data.images) + 1) // 2
    answers = [await ask(image) for image in data.images[:alone]]
    start = time.perf_counter()
    answers += await asyncio.gather(*(ask(image) for image in data.images[alone:]))
    return _Pass(answers, alone, time.perf_counter() - start)


def _baseline(service: Service, data: CocoSplit, answers: list[Answer]) -> Baseline:
    """What was seen and said, at the thresholds requests get that name none."""
    manifest = service.models.get().bundle.manifest
    observations = []
    for row, answer in zip(data.images, answers, strict=True):
        image = decode(data.image_path(row).read_bytes(), service.image_limits)
        observations.append(observe(image, above(answer.detections, manifest.postprocess)))
    return make_baseline(observations, manifest.labels)


def _judged(model: ServedModel, data: CocoSplit, passed: _Pass, baseline: Baseline) -> Evaluation:
    manifest = model.bundle.manifest
    most, threshold = manifest.postprocess.max_detections, manifest.postprocess.score_threshold
    least = {label: manifest.postprocess.least_score(label) for label in data.labels}
    by_category = {id: least[data.labels[index - 1]] for id, index in data.class_index.items()}
    rows = [
        row
        for answer, image in zip(passed.answers, data.images, strict=True)
        for row in coco_results(answer, image["id"], data)
    ]
    kinds = list(KINDS) if model.segments else ["box"]
    judges = {kind: judge(data, rows, kind, most) for kind in kinds}
    by_class = {kind: matches_by_class(judged) for kind, judged in judges.items()}
    trusted = reliability(by_class["box"])
    metrics = {
        "split": data.split,
        "images": len(data.images),
        "dataset_fingerprint": data.fingerprint(),
        "engine": model.engine.name,
        "precision": model.engine.precision,
        "max_detections": most,
        "score_floor": SCORE_FLOOR,
        **_speed(passed),
        **{kind: figures(judged, data.labels) for kind, judged in judges.items()},
        "operating_point": {
            "score_threshold": threshold,
            "match_iou": MATCH_IOU,
            **({"class_score_thresholds": own} if (own := manifest.postprocess.class_score_thresholds) else {}),
            **precision_recall(by_class["box"], list(least.values())),
            **{f"mean_{kind}_iou": mean_iou(judged, by_category) for kind, judged in judges.items()},
        },
        "d_ece": trusted.error,
    }
    pairs = list(zip(passed.answers, data.images, strict=True))
    images = [_match(answer, image, data, least) for answer, image in pairs]
    identity = {"name": model.id.name, "version": model.id.version, "digest": model.id.digest}
    return Evaluation(
        data=data,
        identity=identity | {"architecture": manifest.architecture},
        score_threshold=threshold,
        metrics=metrics,
        curves={kind: judged.eval["precision"][..., 0, -1] for kind, judged in judges.items()},
        by_class=by_class,
        images=images,
        outlines=[_outlines(answer, data, least) for answer in passed.answers],
        confusion=confusion(images, len(data.labels)),
        reliability=trusted,
        baseline=baseline,
    )


def _speed(passed: _Pass) -> dict[str, Any]:
    """Latency and its stages of requests alone, throughput of requests in company."""
    alone = [answer.timings for answer in passed.answers[: passed.alone]]
    together = len(passed.answers) - passed.alone
    stages = {stage: [timings.stages_s.get(stage, 0.0) for timings in alone] for stage in alone[0].stages_s}
    return {
        "latency_ms": {f"p{rank}": _ms([timings.total_s for timings in alone], rank) for rank in (50, 95)},
        "stage_ms": {stage: {f"p{rank}": _ms(seconds, rank) for rank in (50, 95)} for stage, seconds in stages.items()},
        "throughput_images_per_s": round(together / passed.together_s, 2) if together else None,
    }


def _ms(seconds: list[float], percentile: int) -> float:
    return round(float(np.percentile(seconds, percentile)) * 1e3, 1)


def coco_results(answer: Answer, image_id: int, data: CocoSplit) -> list[dict[str, Any]]:
    """The answer in COCO's results format, with the dataset's own category ids; classes it lacks are left out."""
    category = {data.labels[index - 1]: id for id, index in data.class_index.items()}
    found = answer.detections
    rows = []
    for index, label in enumerate(found.labels):
        if label not in category:
            continue
        x1, y1, x2, y2 = (float(v) for v in found.boxes_xyxy[index])
        row: dict[str, Any] = {
            "image_id": image_id,
            "category_id": category[label],
            "score": float(found.scores[index]),
        }
        mask = found.masks[index] if found.masks else None
        if isinstance(mask, RleMask):
            row["segmentation"] = {"size": list(mask.size_hw), "counts": mask.counts}
        rows.append({**row, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    return rows


def _match(answer: Answer, image: dict[str, Any], data: CocoSplit, least: Mapping[str, float]) -> ImageMatch:
    found = answer.detections
    kept = _kept(answer, data, least)
    objects = data.annotations[image["id"]]
    plain, crowd = ([row for row in objects if bool(row["iscrowd"]) == is_crowd] for is_crowd in (False, True))
    return match_image(
        found.boxes_xyxy[kept].reshape(-1, 4),
        found.scores[kept],
        np.array([data.labels.index(found.labels[index]) for index in kept], np.int64),
        _boxes_xyxy(plain),
        np.array([data.class_index[row["category_id"]] - 1 for row in plain], np.int64),
        _boxes_xyxy(crowd),
    )


def _kept(answer: Answer, data: CocoSplit, least: Mapping[str, float]) -> NDArray[np.int64]:
    """Indices of the detections that reach their class's least score, best score first as they come."""
    found = answer.detections
    return np.flatnonzero(found.scores >= np.array([least.get(label, np.inf) for label in found.labels], np.float32))


def _outlines(answer: Answer, data: CocoSplit, least: Mapping[str, float]) -> list[dict[str, Any]]:
    masks = answer.detections.masks or ()
    chosen = [masks[index] for index in _kept(answer, data, least)] if masks else []
    return [{"size": list(mask.size_hw), "counts": mask.counts} for mask in chosen if isinstance(mask, RleMask)]


def _boxes_xyxy(rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes
