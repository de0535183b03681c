"""What an eager model finds in each image, every detection marked sure or merely possible (model/rounding.py)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from model.graph import PyramidRoiAlign
from model.rounding import Verdict, above, suppress, top


@dataclass(frozen=True)
class Tolerance:
    """How far two right programs may lie apart: where a decision is taken, and in detections taken for equal."""

    logit: float = 2e-5  # objectness, relative to 1 + its size
    score: float = 2e-5  # class probability
    box_px: float = 5e-3
    equal_score: float = 1e-3
    equal_box_px: float = 0.5


ROUNDING = Tolerance()
HALF_ROUNDING = Tolerance(logit=2e-2, score=1e-2, box_px=0.25, equal_score=3e-2, equal_box_px=2.0)  # of an fp16 trunk


@dataclass(frozen=True)
class Bracket:
    """The possible detections of one image (B, ...); sure (B,) marks those in the answer whatever rounding does."""

    boxes_xyxy: Tensor
    scores: Tensor
    label_ids: Tensor
    sure: Tensor


@torch.no_grad()
def bracket(
    model: FasterRCNN, images: ImageList, features: dict[str, Tensor], tolerance: Tolerance, score_floor: float
) -> list[Bracket]:
    """One Bracket an image for model's decisions on features, ending at the detections above score_floor."""
    levels = list(features.values())
    anchors = model.rpn.anchor_generator(images, levels)
    objectness, deltas = model.rpn.head(levels)
    counts = [score[0].numel() for score in objectness]
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    boxes = model.rpn.box_coder.decode(deltas, anchors).view(len(anchors), -1, 4)
    logits = objectness.view(len(anchors), -1)
    found = []
    for index, size_hw in enumerate(images.image_sizes):
        proposals = _proposals(model, boxes[index], logits[index], counts, size_hw, tolerance)
        rois = torch.cat([torch.full((len(proposals[0]), 1), float(index)), proposals[0]], 1)
        found.append(_detections(model, features, rois, proposals[1], size_hw, tolerance, score_floor))
    return found


def _proposals(
    model: FasterRCNN, boxes: Tensor, logits: Tensor, counts: list[int], size_hw: tuple[int, int], tolerance: Tolerance
) -> tuple[Tensor, Tensor]:
    """The possible proposals (P, 4) of one image and which of them are sure (P,)."""
    rpn, kept = model.rpn, []
    scores = logits.sigmoid()
    # The slope of the sigmoid carries the logit's rounding over; saturated scores tie.
    margin = scores * (1 - scores) * tolerance.logit * (1 + logits.abs()) + 3e-7
    start = 0
    for count in counts:
        level = torch.arange(start, start + count)
        start += count
        everything = torch.ones(count, dtype=torch.bool)
        allowed = tolerance.logit * (1 + logits[level].abs())
        alive = top(logits[level], allowed, rpn.pre_nms_top_n(), Verdict(everything, everything))
        alive &= _is_wide(boxes[level], size_hw, rpn.min_size, tolerance.box_px)
        if rpn.score_thresh > 0:
            alive &= above(scores[level], rpn.score_thresh, margin[level])
        level, alive = level[alive.possible], Verdict(alive.sure[alive.possible], alive.possible[alive.possible])
        clipped = _clip(boxes[level], size_hw)
        alive = suppress(clipped, scores[level], margin[level], rpn.nms_thresh, tolerance.box_px, alive)
        kept.append((level[alive.possible], alive.sure[alive.possible]))
    index, sure = (torch.cat(parts) for parts in zip(*kept, strict=True))
    alive = top(scores[index], margin[index], rpn.post_nms_top_n(), Verdict(sure, torch.ones_like(sure)))
    return _clip(boxes[index[alive.possible]], size_hw), alive.sure[alive.possible]


def _detections(
    model: FasterRCNN,
    features: dict[str, Tensor],
    rois: Tensor,
    sure: Tensor,
    size_hw: tuple[int, int],
    tolerance: Tolerance,
    score_floor: float,
) -> Bracket:
    heads, pool = model.roi_heads, PyramidRoiAlign(model.roi_heads.box_roi_pool)
    rois, sure, levels = _at_every_level(pool, rois, sure, tolerance.box_px)
    pooled = pool.at_levels([features[name] for name in pool.names], rois, levels)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    scores = logits.softmax(-1)[:, 1:]
    boxes = heads.box_coder.decode(deltas, [rois[:, 1:]])[:, 1:]
    alive = above(scores, score_floor, tolerance.score)
    alive &= _is_wide(boxes, size_hw, 1e-2, tolerance.box_px)
    alive &= Verdict(sure[:, None].expand_as(scores), torch.ones_like(scores, dtype=torch.bool))
    row, column = torch.nonzero(alive.possible, as_tuple=True)
    boxes, scores, sure = _clip(boxes[row, column], size_hw), scores[row, column], alive.sure[row, column]
    margin = torch.full_like(scores, tolerance.score)
    possible = torch.ones_like(sure)
    for label in column.unique():
        of = torch.nonzero(column == label).flatten()
        alive = Verdict(sure[of], possible[of])
        verdict = suppress(boxes[of], scores[of], margin[of], heads.nms_thresh, tolerance.box_px, alive)
        sure[of], possible[of] = verdict.sure, verdict.possible
    last = top(scores, margin, heads.detections_per_img, Verdict(sure, possible))
    keep = last.possible
    return Bracket(boxes[keep], scores[keep], column[keep] + 1, last.sure[keep])


def _at_every_level(pool: PyramidRoiAlign, rois: Tensor, sure: Tensor, box_px: float) -> tuple[Tensor, Tensor, Tensor]:
    """Regions so close to a change of level that rounding decides are taken at both levels, neither sure."""
    sides = rois[:, 3:5] - rois[:, 1:3]
    low, high = pool.levels((sides - 2 * box_px).clamp(min=1e-6)), pool.levels(sides + 2 * box_px)
    either = low != high
    rois, sure = torch.cat([rois, rois[either]]), torch.cat([sure & ~either, torch.zeros_like(sure[either])])
    return rois, sure, torch.cat([low, high[either]])


def _clip(boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    height, width = size_hw
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def _is_wide(boxes: Tensor, size_hw: tuple[int, int], least: float, box_px: float) -> Verdict:
    """Whether boxes (..., 4) have both sides of at least `least` once clipped."""
    shift = boxes.new_tensor([-box_px, -box_px, box_px, box_px])
    narrow, wide = _clip(boxes - shift, size_hw), _clip(boxes + shift, size_hw)
    return Verdict(
        (narrow[..., 2:] - narrow[..., :2] >= least).all(-1), (wide[..., 2:] - wide[..., :2] >= least).all(-1)
    )
