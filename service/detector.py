"""What the requests of one batch go through together: detector, NMS, and the mask head if somebody asked for masks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.detections import NmsOptions
from service.engine.base import DetectorOutput, Engine
from service.postprocess.boxes import Picked, pick

MOST_REGIONS = 256  # in one run of the mask head: bounds its memory whatever thresholds a caller chooses


@dataclass(frozen=True)
class Work:
    """One image of a batch."""

    canvas: NDArray[np.uint8]  # (H, W, 3), the same H and W for the whole batch
    resized_hw: tuple[int, int]  # the valid part of the canvas, from its top-left corner
    nms: NmsOptions
    wants_masks: bool


@dataclass(frozen=True)
class Found:
    """What a batch gives back for one image, still on its canvas; stages_s are those of the whole batch."""

    picked: Picked
    probabilities: NDArray[np.float32] | None  # (D, 28, 28), None unless wanted
    stages_s: dict[str, float]


def detect_batch(engine: Engine, batch: Sequence[Work]) -> list[Found]:
    """Run a batch of equal canvases through engine; one Found per Work, in order."""
    start = time.perf_counter()
    sizes_hw = np.array([work.resized_hw for work in batch], np.int64)
    output = engine.detect(np.stack([work.canvas for work in batch]), sizes_hw)
    detected = time.perf_counter()
    picked = [
        pick(output.boxes_xyxy[i], output.scores[i], output.label_ids[i], work.nms) for i, work in enumerate(batch)
    ]
    suppressed = time.perf_counter()
    probabilities = _masks(engine, output, batch, picked)
    stages_s = {"detector": detected - start, "nms": suppressed - detected}
    if any(work.wants_masks for work in batch):
        stages_s["mask_head"] = time.perf_counter() - suppressed
    return [Found(p, m, stages_s) for p, m in zip(picked, probabilities, strict=True)]


def _masks(
    engine: Engine, output: DetectorOutput, batch: Sequence[Work], picked: Sequence[Picked]
) -> list[NDArray[np.float32] | None]:
    """Mask probabilities for the images that want them: one mask head call over the regions of all of them."""
    wanting = [i for i, work in enumerate(batch) if work.wants_masks]
    result: list[NDArray[np.float32] | None] = [None] * len(batch)
    counts = [len(picked[i].scores) for i in wanting]
    for i in wanting:
        result[i] = np.zeros((0, 28, 28), np.float32)
    if sum(counts) == 0:
        return result
    boxes = np.concatenate([picked[i].boxes_xyxy for i in wanting])
    rois = np.column_stack([np.repeat(np.array(wanting, np.float32), counts), boxes]).astype(np.float32)
    labels = np.concatenate([picked[i].label_ids for i in wanting])
    chunks = range(0, len(rois), MOST_REGIONS)
    parts = [engine.masks(output.features, rois[i : i + MOST_REGIONS], labels[i : i + MOST_REGIONS]) for i in chunks]
    masks = np.concatenate(parts)
    for i, part in zip(wanting, np.split(masks, np.cumsum(counts)[:-1]), strict=True):
        result[i] = part
    return result
