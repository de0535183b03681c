"""A recipe for labelled images nobody has written one for: sizes, anchors and limits fitted to the data."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np

from model.architectures import ARCHITECTURES
from model.classic.steps import FOUR_STEPS
from model.datasets import CocoSplit, DatasetInvalid
from model.recipes import CLASSIC_FROM_SCRATCH, TRAIN_SAMPLING, Recipe, Stage

_STRIDE_PX = 32  # of the coarsest level of the FPN: canvases are multiples of it
_ANCHOR_PX = (8, 64)
_LEAST_DETECTIONS = 100


def plan(
    data: CocoSplit,
    architecture: str,
    *,
    name: str,
    size_px: int,
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    alternating: bool = True,
) -> Recipe:
    """
    Whole images with their shorter side at size_px, flipped, zoomed by a fifth, light and colours moved.

    The longer side may be what the most stretched image of the data needs, at most twice size_px. Raises
    DatasetInvalid if there are fewer images than a batch holds. A classic Faster R-CNN is trained in the paper's four
    steps, epochs each, unless alternating is false.
    """
    if len(data.images) < batch:
        raise DatasetInvalid(f"{data.root}: {data.split} has {len(data.images)} images, fewer than a batch of {batch}")
    short_px, long_px = _rounded_up(size_px), _rounded_up(size_px * _stretch(data))
    most = max(len(rows) for rows in data.annotations.values())
    stage = Stage(
        epochs=epochs,
        learning_rate=learning_rate,
        view="whole",
        view_hw=_view_hw(data, short_px, long_px),
        scale_range=(0.8, 1.2),
        channel_gain=0.2,
    )
    in_steps = alternating and architecture.startswith("classic_fasterrcnn")
    return Recipe(
        name=_slug(name),
        architecture=architecture,
        stages=tuple(replace(stage, step=step) for step in FOUR_STEPS) if in_steps else (stage,),
        batch=batch,
        seed=seed,
        model_options=_model_options(data, architecture, short_px),
        preprocess={
            "resize": "fit",
            "min_size": short_px,
            "max_size": long_px,
            "canvas_grid": sorted({(short_px, long_px), (long_px, short_px), (long_px, long_px)}),
        },
        postprocess={
            "score_threshold": 0.5,
            "iou_threshold": 0.5,
            "max_detections": max(_LEAST_DETECTIONS, math.ceil(most * 1.5)),
        },
    )


def _model_options(data: CocoSplit, architecture: str, short_px: int) -> dict[str, Any]:
    if architecture.startswith("classic_"):
        boxes = "window_sides_px" if "fastrcnn" in architecture else "anchor_sides_px"
        return {**CLASSIC_FROM_SCRATCH, boxes: _anchor_sides_px(data, short_px)}
    if architecture.endswith("_small_fpn"):
        return {**TRAIN_SAMPLING, "smallest_anchor_px": _anchor_px(data, short_px)}
    return dict(TRAIN_SAMPLING)


def trainable() -> list[str]:
    """The architectures that can be trained here."""
    return [name for name, row in ARCHITECTURES.items() if row.task in ("detection", "segmentation")]


def _rounded_up(pixels: float) -> int:
    return math.ceil(pixels / _STRIDE_PX - 1e-9) * _STRIDE_PX


def _stretch(data: CocoSplit) -> float:
    """Longer over shorter side of the most stretched image, at most 2."""
    return min(
        2.0, max(max(image["width"], image["height"]) / min(image["width"], image["height"]) for image in data.images)
    )


def _view_hw(data: CocoSplit, short_px: int, long_px: int) -> tuple[int, int]:
    """Landscape or portrait where nearly all images are; a square where both occur."""
    wide = np.mean([image["width"] >= image["height"] for image in data.images])
    if 0.1 < wide < 0.9:
        return long_px, long_px
    return (short_px, long_px) if wide >= 0.9 else (long_px, short_px)


def _anchor_sides_px(data: CocoSplit, short_px: int) -> list[int]:
    """Three, as in the paper: evenly spread by ratio over the sides of all but the extreme objects."""
    low, high = np.percentile(_sides_px(data, short_px), (5, 95))
    return [max(8, round(side)) for side in np.geomspace(low, high, 3)]


def _sides_px(data: CocoSplit, short_px: int) -> list[float]:
    """The square root of every object's area, in pixels of the view."""
    sides = [
        math.sqrt(row["bbox"][2] * row["bbox"][3]) * short_px / min(image["width"], image["height"])
        for image in data.images
        for row in data.annotations[image["id"]]
    ]
    if not sides:
        raise DatasetInvalid(f"{data.root}: {data.split} has no objects to learn from")
    return sides


def _anchor_px(data: CocoSplit, short_px: int) -> int:
    """The smallest anchor: the power of two next below the side of all but the smallest twentieth of the objects."""
    smallest = max(1.0, float(np.percentile(_sides_px(data, short_px), 5)))
    return int(np.clip(2 ** math.floor(math.log2(smallest)), *_ANCHOR_PX))


def _slug(name: str) -> str:
    """A name that a bundle may have."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64] or "model"
