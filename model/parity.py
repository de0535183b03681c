"""The exported graphs against eager torchvision on the same canvases: a proof, not a hope."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from model.datasets import CocoSplit
from model.restore import restore
from service.bundle import Bundle
from service.detections import NmsOptions
from service.engine.base import Engine
from service.postprocess.boxes import Picked, pick
from service.preprocess import to_canvas

SCORE_FLOOR = 0.05
BOX_TOLERANCE_PX, SCORE_TOLERANCE = 0.5, 1e-3


@dataclass(frozen=True)
class Parity:
    """How many eager detections there were, how many have no equal in the graph's, the worst distances of the rest."""

    detections: int
    unmatched: int
    worst_box_px: float
    worst_score: float

    def __add__(self, other: "Parity") -> "Parity":
        return Parity(
            self.detections + other.detections,
            self.unmatched + other.unmatched,
            max(self.worst_box_px, other.worst_box_px),
            max(self.worst_score, other.worst_score),
        )


def compare(
    model: FasterRCNN, engine: Engine, bundle: Bundle, canvases: NDArray[np.uint8], sizes_hw: NDArray[np.int64]
) -> Parity:
    """canvases (N, H, W, 3), sizes_hw (N, 2): both ways, every detection above SCORE_FLOOR needs its equal."""
    eager = _eager(model, bundle, canvases, sizes_hw)
    exported = _exported(model, engine, canvases, sizes_hw)
    total = Parity(0, 0, 0.0, 0.0)
    for ours, theirs in zip(exported, eager, strict=True):
        total += match(theirs, ours)
        total += Parity(0, match(ours, theirs).unmatched, 0.0, 0.0)
    return total


def match(wanted: Picked, offered: Picked) -> Parity:
    """
    For each wanted detection the equal among offered: same label, box and score within tolerance, used once.

    Those within the score tolerance of SCORE_FLOOR may be on either side of it, and are not asked for.
    """
    free = np.ones(len(offered.scores), bool)
    asked = np.flatnonzero(wanted.scores > SCORE_FLOOR + SCORE_TOLERANCE)
    unmatched, worst_box, worst_score = 0, 0.0, 0.0
    for index in asked:
        box_px = np.abs(offered.boxes_xyxy - wanted.boxes_xyxy[index]).max(1, initial=0)
        score = np.abs(offered.scores - wanted.scores[index])
        equal = free & (offered.label_ids == wanted.label_ids[index])
        equal &= (box_px <= BOX_TOLERANCE_PX) & (score <= SCORE_TOLERANCE)
        if not equal.any():
            unmatched += 1
            continue
        nearest = int(np.argmin(np.where(equal, box_px, np.inf)))
        free[nearest] = False
        worst_box, worst_score = max(worst_box, float(box_px[nearest])), max(worst_score, float(score[nearest]))
    return Parity(len(asked), unmatched, worst_box, worst_score)


def over_dataset(bundle: Bundle, engine: Engine, data: CocoSplit, batch: int) -> Parity:
    """Every image of data, in batches of up to `batch` equal canvases with different valid sizes."""
    model = restore(bundle)
    groups: dict[tuple[int, int], list[tuple[NDArray[np.uint8], tuple[int, int]]]] = {}
    for image in data.images:
        canvas, geometry = to_canvas(data.load(image, masks=False).image, bundle.manifest.preprocess)
        groups.setdefault(geometry.canvas_hw, []).append((canvas, geometry.resized_hw))
    total = Parity(0, 0, 0.0, 0.0)
    for rows in groups.values():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            canvases, sizes = np.stack([canvas for canvas, _ in part]), np.array([size for _, size in part])
            total += compare(model, engine, bundle, canvases, sizes)
    return total


@torch.no_grad()
def _eager(
    model: FasterRCNN, bundle: Bundle, canvases: NDArray[np.uint8], sizes_hw: NDArray[np.int64]
) -> Sequence[Picked]:
    """torchvision's own trunk, RPN and heads on the canvases: normalised first, zero beyond the valid size."""
    spec = bundle.manifest.preprocess
    pixels = (canvases.astype(np.float32) / 255 - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    for image, (height, width) in zip(pixels, sizes_hw, strict=True):
        image[height:] = 0
        image[:, width:] = 0
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    images = ImageList(tensor, [(int(h), int(w)) for h, w in sizes_hw])
    features = model.backbone(tensor)
    proposals, _ = model.rpn(images, features)
    found, _ = model.roi_heads(features, proposals, images.image_sizes)
    return [Picked(d["boxes"].numpy(), d["scores"].numpy(), d["labels"].numpy()) for d in found]


def _exported(
    model: FasterRCNN, engine: Engine, canvases: NDArray[np.uint8], sizes_hw: NDArray[np.int64]
) -> Sequence[Picked]:
    heads = model.roi_heads
    options = NmsOptions(SCORE_FLOOR, heads.nms_thresh, "hard", False, heads.detections_per_img, None)
    output = engine.detect(canvases, sizes_hw)
    return [pick(output.boxes_xyxy[i], output.scores[i], output.label_ids[i], options) for i in range(len(canvases))]
