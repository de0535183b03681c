"""A bundle proves itself before it is served: its golden images must give the detections written beside them."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle
from service.detections import NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import Engine
from service.errors import BundleInvalid
from service.images import Limits, decode
from service.postprocess.boxes import Picked
from service.preprocess import to_canvas
from service.proposals import regions_on_canvas

# Wide enough for another engine or precision, far too narrow for another model or preprocessing.
_SCORE_TOLERANCE, _LEAST_IOU = 0.05, 0.9
_MOST_FLIPPED = 0.1  # of an image's detections, below fp32: rounding decides which of two near equals NMS keeps
_LIMITS = Limits(max_bytes=50_000_000, max_pixels=50_000_000)


def self_check(bundle: Bundle, engine: Engine) -> None:
    """Raises BundleInvalid saying which golden image disagrees and how."""
    for name in bundle.golden_images():
        expected, missing = expected_and_missing(bundle, engine, name)
        if len(missing) > (0 if engine.precision == "fp32" else _MOST_FLIPPED * len(expected)):
            first = missing[0]
            raise BundleInvalid(
                f"{bundle.root}: on {name}, {len(missing)} of {len(expected)} expected detections are not found by "
                f"engine {engine.name} ({engine.precision}), the first a {first['label']} at {first['box']} "
                f"with score {first['score']:.3f}"
            )


def expected_and_missing(
    bundle: Bundle, engine: Engine, name: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is expected of engine in the golden image of that name, as its file has it, and what of that it misses."""
    own = expectations(name, engine.precision)
    listed = own if own in bundle.manifest.files else expectations(name, "fp32")
    document = json.loads(bundle.path(listed).read_bytes())
    found = _run(bundle, engine, name, document.get("score_threshold"))
    return document["detections"], [row for row in document["detections"] if not _is_found(row, *found)]


def expectations(image: str, precision: str) -> str:
    """What engines of a precision are expected to find is in this file; a bundle may have that of fp32 alone."""
    return f"{image}.json" if precision == "fp32" else f"{image}.{precision}.json"


def _run(
    bundle: Bundle, engine: Engine, name: str, score_threshold: float | None
) -> tuple[Picked, NDArray[np.float32], tuple[str, ...]]:
    """score_threshold is that of the expectations where it is not the bundle's own."""
    manifest = bundle.manifest
    image = decode(bundle.path(name).read_bytes(), _LIMITS)
    canvas, geometry = to_canvas(image, manifest.preprocess)
    defaults = manifest.postprocess
    faintest = min(map(defaults.least_score, manifest.labels)) if score_threshold is None else score_threshold
    nms = NmsOptions(faintest / 2, defaults.iou_threshold, "hard", False, defaults.max_detections, None)
    nms = replace(nms, calibration=manifest.score_calibration())
    regions = regions_on_canvas(manifest.proposals, (), geometry.image_hw, geometry.resized_hw)
    found = detect_batch(engine, [Work(canvas, geometry.resized_hw, nms, False, regions=regions)])[0]
    return found.picked, geometry.to_image_pixels(found.picked.boxes_xyxy), manifest.labels


def _is_found(row: dict[str, Any], picked: Picked, boxes_xyxy: NDArray[np.float32], labels: tuple[str, ...]) -> bool:
    if not len(boxes_xyxy):
        return False
    box = np.array(row["box"])
    sides = np.minimum(boxes_xyxy[:, 2:], box[2:]) - np.maximum(boxes_xyxy[:, :2], box[:2])
    intersection = np.maximum(sides, 0).prod(1)
    union = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - intersection
    same = picked.label_ids == labels.index(row["label"]) + 1
    close = np.abs(picked.scores - row["score"]) <= _SCORE_TOLERANCE
    return bool(np.any(same & close & (intersection >= _LEAST_IOU * union)))
