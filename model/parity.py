"""The exported graphs against eager torchvision on the same canvases: a proof, not a hope."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from model.bracket import ROUNDING, Bracket, Tolerance, bracket
from model.datasets import CocoSplit
from model.restore import restore
from service.bundle import Bundle
from service.detections import NmsOptions
from service.engine.base import Engine
from service.postprocess.boxes import Picked, pick
from service.preprocess import to_canvas
from service.proposals import padded, windows

SCORE_FLOOR = 0.05
_HEAD_BOXES = 10


@dataclass(frozen=True)
class Parity:
    """
    How many eager detections there were, and how the graph's differ.

    unmatched: detections of one without their equal in the other that rounding does not explain. flips: those it
    does, as a decision they hang on is closer than rounding (model/bracket.py). The worst distances are of the equal.
    """

    detections: int
    unmatched: int
    flips: int
    worst_box_px: float
    worst_score: float

    def __add__(self, other: "Parity") -> "Parity":
        return Parity(
            self.detections + other.detections,
            self.unmatched + other.unmatched,
            self.flips + other.flips,
            max(self.worst_box_px, other.worst_box_px),
            max(self.worst_score, other.worst_score),
        )


NOTHING = Parity(0, 0, 0, 0.0, 0.0)


def compare(
    model: FasterRCNN,
    engine: Engine,
    bundle: Bundle,
    canvases: NDArray[np.uint8],
    sizes_hw: NDArray[np.int64],
    tolerance: Tolerance = ROUNDING,
) -> Parity:
    """canvases (N, H, W, 3), sizes_hw (N, 2): both ways, every detection above SCORE_FLOOR needs its equal."""
    regions = _regions(bundle, sizes_hw)
    eager = Eager.run(model, bundle, canvases, sizes_hw, regions)
    exported = _exported(model, engine, canvases, sizes_hw, regions)
    total, brackets = NOTHING, None
    for index, (ours, theirs) in enumerate(zip(exported, eager.found, strict=True)):
        there, back = match(theirs, ours, tolerance), match(ours, theirs, tolerance)
        total += there.parity
        if there.lone or back.lone:
            brackets = brackets or bracket(model, eager.images, eager.features, tolerance, SCORE_FLOOR, eager.regions)
            possible = brackets[index]
            flips = _explained(theirs, there.lone, possible, tolerance) + _explained(
                ours, back.lone, possible, tolerance
            )
            total += Parity(0, len(there.lone) + len(back.lone) - flips, flips, 0.0, 0.0)
    return total


def _explained(found: Picked, lone: list[int], possible: Bracket, tolerance: Tolerance) -> int:
    """How many of found's lone detections are possible but not sure."""
    sure = possible.sure.numpy()
    close = Picked(
        possible.boxes_xyxy.numpy()[~sure], possible.scores.numpy()[~sure], possible.label_ids.numpy()[~sure]
    )
    alone = Picked(found.boxes_xyxy[lone], found.scores[lone], found.label_ids[lone])
    return len(lone) - len(match(alone, close, tolerance).lone)


@dataclass(frozen=True)
class Match:
    """lone: indices of wanted detections without their equal."""

    parity: Parity
    lone: list[int]


def match(wanted: Picked, offered: Picked, tolerance: Tolerance = ROUNDING) -> Match:
    """
    For each wanted detection the equal among offered: same label, box and score within tolerance, used once.

    Those within the score tolerance of SCORE_FLOOR may be on either side of it, and are not asked for.
    """
    free = np.ones(len(offered.scores), bool)
    asked = np.flatnonzero(wanted.scores > SCORE_FLOOR + tolerance.equal_score)
    lone, worst_box, worst_score = [], 0.0, 0.0
    for index in asked:
        box_px = np.abs(offered.boxes_xyxy - wanted.boxes_xyxy[index]).max(1, initial=0)
        score = np.abs(offered.scores - wanted.scores[index])
        equal = free & (offered.label_ids == wanted.label_ids[index])
        equal &= (box_px <= tolerance.equal_box_px) & (score <= tolerance.equal_score)
        if not equal.any():
            lone.append(int(index))
            continue
        nearest = int(np.argmin(np.where(equal, box_px, np.inf)))
        free[nearest] = False
        worst_box, worst_score = max(worst_box, float(box_px[nearest])), max(worst_score, float(score[nearest]))
    return Match(Parity(len(asked), 0, 0, worst_box, worst_score), lone)


def over_dataset(bundle: Bundle, engine: Engine, data: CocoSplit, batch: int) -> Parity:
    """Every image of data, in batches of up to `batch` equal canvases with different valid sizes."""
    model = restore(bundle)
    groups: dict[tuple[int, int], list[tuple[NDArray[np.uint8], tuple[int, int]]]] = {}
    for image in data.images:
        canvas, geometry = to_canvas(data.load(image, masks=False).image, bundle.manifest.preprocess)
        groups.setdefault(geometry.canvas_hw, []).append((canvas, geometry.resized_hw))
    total = NOTHING
    for rows in groups.values():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            canvases, sizes = np.stack([canvas for canvas, _ in part]), np.array([size for _, size in part])
            total += compare(model, engine, bundle, canvases, sizes)
    return total


@dataclass(frozen=True)
class Eager:
    """torchvision's own trunk, RPN and heads on some canvases."""

    images: ImageList
    features: dict[str, torch.Tensor]
    found: list[Picked]
    regions: list[torch.Tensor] | None = None  # (P, 4) an image, where the model takes proposals

    @classmethod
    @torch.no_grad()
    def run(
        cls,
        model: FasterRCNN,
        bundle: Bundle,
        canvases: NDArray[np.uint8],
        sizes_hw: NDArray[np.int64],
        regions: Sequence[NDArray[np.float32]] | None = None,
    ) -> "Eager":
        """
        canvases (N, H, W, 3) are normalised first, and zero beyond sizes_hw (N, 2).

        regions, (P, 4) an image, are for a model that takes proposals.
        """
        spec = bundle.manifest.preprocess
        pixels = (canvases.astype(np.float32) / 255 - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
        for image, (height, width) in zip(pixels, sizes_hw, strict=True):
            image[height:] = 0
            image[:, width:] = 0
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        images = ImageList(tensor, [(int(h), int(w)) for h, w in sizes_hw])
        features = model.backbone(tensor)
        given = None if regions is None else [torch.from_numpy(boxes) for boxes in regions]
        proposals, _ = model.rpn(images, features, None if given is None else [{"boxes": boxes} for boxes in given])
        boxes, scores, labels = _box_branch(model, features, proposals, images.image_sizes)
        picked = [Picked(b.numpy(), s.numpy(), i.numpy()) for b, s, i in zip(boxes, scores, labels, strict=True)]
        return cls(images, features, picked, given)


def _box_branch(
    model: FasterRCNN, features: dict[str, torch.Tensor], proposals: list[torch.Tensor], sizes: list[tuple[int, int]]
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """torchvision's RoIHeads.forward without masks and keypoints."""
    heads = model.roi_heads
    logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, sizes)))
    boxes, scores, labels = heads.postprocess_detections(logits, deltas, proposals, sizes)
    return boxes, scores, labels


def _regions(bundle: Bundle, sizes_hw: NDArray[np.int64]) -> list[NDArray[np.float32]] | None:
    """Windows over each image, for a model that takes proposals."""
    spec = bundle.manifest.proposals
    return None if spec is None else [windows(spec, (int(h), int(w))) for h, w in sizes_hw]


def _exported(
    model: FasterRCNN,
    engine: Engine,
    canvases: NDArray[np.uint8],
    sizes_hw: NDArray[np.int64],
    regions: list[NDArray[np.float32]] | None,
) -> Sequence[Picked]:
    heads = model.roi_heads
    options = NmsOptions(SCORE_FLOOR, heads.nms_thresh, "hard", False, heads.detections_per_img, None)
    output = engine.detect(canvases, sizes_hw, *([] if regions is None else [padded(regions)]))
    return [pick(output.boxes_xyxy[i], output.scores[i], output.label_ids[i], options) for i in range(len(canvases))]


@torch.no_grad()
def compare_heads(
    model: FasterRCNN, engine: Engine, bundle: Bundle, canvases: NDArray[np.uint8], sizes_hw: NDArray[np.int64]
) -> float:
    """The greatest distance of any mask probability or heatmap value over the ten best eager detections an image."""
    eager = Eager.run(model, bundle, canvases, sizes_hw)
    heads = model.roi_heads
    if not (heads.has_mask() or heads.has_keypoint()):
        return 0.0
    output = engine.detect(canvases, sizes_hw)
    boxes = [torch.from_numpy(found.boxes_xyxy[:_HEAD_BOXES]) for found in eager.found]
    rois = torch.cat([torch.cat([torch.full((len(b), 1), float(i)), b], 1) for i, b in enumerate(boxes)]).numpy()
    labels = np.concatenate([found.label_ids[:_HEAD_BOXES] for found in eager.found])
    if heads.has_mask():
        pooled = heads.mask_roi_pool(eager.features, boxes, eager.images.image_sizes)
        wanted = heads.mask_predictor(heads.mask_head(pooled)).sigmoid()[torch.arange(len(labels)), labels]
        offered = engine.masks(output.features, rois, labels)
    else:
        pooled = heads.keypoint_roi_pool(eager.features, boxes, eager.images.image_sizes)
        wanted = heads.keypoint_predictor(heads.keypoint_head(pooled))
        offered = engine.keypoints(output.features, rois)
    return float(np.abs(wanted.numpy() - offered).max(initial=0))
