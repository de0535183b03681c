"""A bundle judged on labelled images through the very path that serves it; pycocotools is the oracle for AP."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.progress import Progress

from model.datasets import CocoSplit
from service.app import Service
from service.detections import Answer, DetectOptions, RleMask
from service.settings import read_settings

SCORE_FLOOR = 0.05  # torchvision's own; below it detections cost time and move AP by hundredths


async def evaluate(bundle: Path, data: CocoSplit, engine: str, progress: Progress) -> dict[str, Any]:
    """metrics.json as a value: AP of boxes and, where there are any, of masks; latency; what was measured on what."""
    service = Service(read_settings(bundles=str(bundle), engine=engine, default_timeout_ms=120_000))
    await service.load()
    try:
        model = service.models.get()
        options = DetectOptions(score_threshold=SCORE_FLOOR, masks="rle" if model.segments else "none")
        rows: list[dict[str, Any]] = []
        seconds = []
        for image in progress.track(data.images, description=f"evaluating {model.id.name}"):
            answer = await service.predictor.predict(data.image_path(image).read_bytes(), options)
            rows += coco_results(answer, image["id"], data)
            seconds.append(answer.timings.total_s)
        kinds = ["bbox", "segm"] if model.segments else ["bbox"]
        most = model.bundle.manifest.postprocess.max_detections
        return {
            "split": data.split,
            "images": len(data.images),
            "dataset_fingerprint": data.fingerprint(),
            "engine": model.engine.name,
            "max_detections": most,
            "score_floor": SCORE_FLOOR,
            "latency_ms": {"p50": _ms(seconds, 50), "p95": _ms(seconds, 95)},
            **{{"bbox": "box", "segm": "mask"}[kind]: average_precision(data, rows, kind, most) for kind in kinds},
        }
    finally:
        await service.unload()


def _ms(seconds: list[float], percentile: int) -> float:
    return round(float(np.percentile(seconds, percentile)) * 1e3, 1)


def coco_results(answer: Answer, image_id: int, data: CocoSplit) -> list[dict[str, Any]]:
    """The answer in COCO's results format, with the dataset's own category ids; found by class name."""
    category = {data.labels[index - 1]: id for id, index in data.class_index.items()}
    found = answer.detections
    rows = []
    for index, label in enumerate(found.labels):
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


def average_precision(data: CocoSplit, rows: list[dict[str, Any]], kind: str, most: int) -> dict[str, Any]:
    """COCO AP with up to `most` detections an image (COCO's 100 would cut crowded images short)."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        truth.dataset = data.document()
        truth.createIndex()
        found = truth.loadRes(_of_kind(rows, kind)) if rows else COCO()
        judge = COCOeval(truth, found, kind)
        judge.params.maxDets = [1, 10, most]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"]  # (IoU thresholds, recalls, classes, areas, maxDets), -1 where undefined
    return {
        "AP": _mean(precision[..., 0, -1]),
        "AP50": _mean(precision[0, ..., 0, -1]),
        "AP75": _mean(precision[5, ..., 0, -1]),
        "by_size": {
            size: _mean(precision[..., area, -1]) for area, size in ((1, "small"), (2, "medium"), (3, "large"))
        },
        "by_class": {
            label: {"AP": _mean(precision[:, :, index, 0, -1]), "AP50": _mean(precision[0, :, index, 0, -1])}
            for index, label in enumerate(data.labels)
        },
        "AR": _mean(judge.eval["recall"][..., 0, -1]),
    }


def _of_kind(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """pycocotools takes the area from the box if a row has one: mask rows must not, or thin ones count as large."""
    return rows if kind == "bbox" else [{k: v for k, v in row.items() if k != "bbox"} for row in rows]


def _mean(values: NDArray[np.float64]) -> float | None:
    defined = values[values > -1]
    return round(float(defined.mean()), 4) if defined.size else None
