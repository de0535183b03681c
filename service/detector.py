"""What the requests of one batch go through together: detector, NMS, then the head for masks or keypoints if wanted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.detections import NmsOptions
from service.engine.base import DetectorOutput, Engine, is_out_of_memory
from service.postprocess.boxes import Picked, pick
from service.proposals import padded
from service.tracing import Trace

MOST_REGIONS = 256  # in one run of a head: bounds its memory whatever thresholds a caller chooses


@dataclass(frozen=True)
class Work:
    """One image of a batch."""

    canvas: NDArray[np.uint8]  # (H, W, 3), the same H and W for the whole batch
    resized_hw: tuple[int, int]  # the valid part of the canvas, from its top-left corner
    nms: NmsOptions
    wants_masks: bool
    wants_keypoints: bool = False
    trace: Trace | None = None  # of the request it came with
    regions: NDArray[np.float32] | None = None  # (P, 4) canvas pixels, of a model that takes proposals


@dataclass(frozen=True)
class Found:
    """What a batch gives back for one image, still on its canvas; stages_s are those of the whole batch."""

    picked: Picked
    probabilities: NDArray[np.float32] | None  # (D, 28, 28), None unless wanted
    stages_s: dict[str, float]
    heatmaps: NDArray[np.float32] | None = None  # (D, J, S, S) logits, None unless wanted
    start_s: float = 0.0  # of the whole batch, by time.perf_counter()


@dataclass(frozen=True)
class Gathered:
    """A batch as an engine takes it."""

    works: Sequence[Work]
    canvases: NDArray[np.uint8]  # (N, H, W, 3)
    start_s: float  # by time.perf_counter()


def gather(batch: Sequence[Work]) -> Gathered:
    """
    A batch as one array, a lone canvas as it is. Raises ValueError where canvases differ.

    np.stack gives Python's lock away for every canvas, and waits for it as often while the event loop writes answers;
    here it can change hands between two canvases only.
    """
    start_s, shape = time.perf_counter(), batch[0].canvas.shape
    if len(batch) == 1:
        return Gathered(batch, batch[0].canvas[None], start_s)
    if any(work.canvas.shape != shape for work in batch):
        raise ValueError("canvases of one batch differ in shape. This is a bug.")
    canvases, size = np.empty((len(batch), *shape), np.uint8), batch[0].canvas.size
    laid_flat = canvases.reshape(-1).data
    for index, work in enumerate(batch):
        laid_flat[index * size : (index + 1) * size] = work.canvas.reshape(-1).data
    return Gathered(batch, canvases, start_s)


def detect_batch(engine: Engine, batch: Sequence[Work]) -> list[Found]:
    """Gather a batch and run it: detect_gathered."""
    return detect_gathered(engine, gather(batch))


def detect_gathered(engine: Engine, batch: Gathered) -> list[Found]:
    """
    Run a batch through engine; one Found per Work, in order.

    Raises MemoryError where the engine has none left, whatever its runtime calls that, else what the engine raises.
    """
    try:
        return _detect(engine, batch.works, batch.canvases, batch.start_s)
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise


def _detect(engine: Engine, batch: Sequence[Work], canvases: NDArray[np.uint8], start_s: float) -> list[Found]:
    sizes_hw = np.array([work.resized_hw for work in batch], np.int64)
    output = engine.detect(canvases, sizes_hw, *_proposals(batch))
    detected = time.perf_counter()
    picked = [
        pick(output.boxes_xyxy[i], output.scores[i], output.label_ids[i], work.nms) for i, work in enumerate(batch)
    ]
    suppressed = time.perf_counter()
    regions = _Regions(output, picked)
    masks = regions.run([work.wants_masks for work in batch], engine.masks)
    stages_s = {"detector": detected - start_s, "nms": suppressed - detected}
    masked = time.perf_counter()
    if any(work.wants_masks for work in batch):
        stages_s["mask_head"] = masked - suppressed
    heatmaps = regions.run([work.wants_keypoints for work in batch], lambda f, rois, _: engine.keypoints(f, rois))
    if any(work.wants_keypoints for work in batch):
        stages_s["keypoint_head"] = time.perf_counter() - masked
    return [Found(p, m, stages_s, h, start_s) for p, m, h in zip(picked, masks, heatmaps, strict=True)]


def _proposals(batch: Sequence[Work]) -> tuple[NDArray[np.float32], ...]:
    """The third input of a model that takes proposals; nothing for others."""
    regions = [work.regions for work in batch if work.regions is not None]
    return (padded(regions),) if regions else ()


Head = Callable[[Any, NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class _Regions:
    """What was picked in a batch, and the features to look at it again."""

    output: DetectorOutput
    picked: Sequence[Picked]

    def run(self, wanted: Sequence[bool], head: Head) -> list[NDArray[np.float32] | None]:
        """head over the regions of all images that want it, in as few calls as memory allows; None for the others."""
        result: list[NDArray[np.float32] | None] = [None] * len(wanted)
        if not any(wanted):
            return result
        wanting = [index for index, wants in enumerate(wanted) if wants]
        counts = [len(self.picked[index].scores) for index in wanting]
        if sum(counts) == 0:
            return [np.zeros((0, 1, 1), np.float32) if wants else None for wants in wanted]
        boxes = np.concatenate([self.picked[index].boxes_xyxy for index in wanting])
        rois = np.column_stack([np.repeat(np.array(wanting, np.float32), counts), boxes]).astype(np.float32)
        labels = np.concatenate([self.picked[index].label_ids for index in wanting])
        chunks = [slice(start, start + MOST_REGIONS) for start in range(0, len(rois), MOST_REGIONS)]
        found = np.concatenate([head(self.output.features, rois[chunk], labels[chunk]) for chunk in chunks])
        for index, part in zip(wanting, np.split(found, np.cumsum(counts)[:-1]), strict=True):
            result[index] = part
        return result
