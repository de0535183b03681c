"""What an eager model finds in each image, every detection marked sure or merely possible (model/rounding.py)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from model.graph import OneMapRoiPool, PyramidRoiAlign, listed_pool
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
    model: FasterRCNN,
    images: ImageList,
    features: dict[str, Tensor],
    tolerance: Tolerance,
    score_floor: float,
    regions: list[Tensor] | None = None,
) -> list[Bracket]:
    """
    One Bracket an image for model's decisions on features, ending at the detections above score_floor.

    regions, (P, 4) an image, are those of a model that takes proposals: they are given, so all are sure.
    """
    proposed = _proposed(model, images, features, tolerance) if regions is None else [(r, _all(r)) for r in regions]
    doubt_px = tolerance.box_px if regions is None else 0.0
    found = []
    for index, (size_hw, (boxes, sure)) in enumerate(zip(images.image_sizes, proposed, strict=True)):
        rois = torch.cat([torch.full((len(boxes), 1), float(index)), boxes], 1)
        found.append(_detections(model, features, rois, sure, size_hw, tolerance, score_floor, doubt_px))
    return found


def _all(boxes: Tensor) -> Tensor:
    return torch.ones(len(boxes), dtype=torch.bool)


def _proposed(
    model: FasterRCNN, images: ImageList, features: dict[str, Tensor], tolerance: Tolerance
) -> list[tuple[Tensor, Tensor]]:
    """Of each image what _proposals says."""
    levels = list(features.values())
    anchors = model.rpn.anchor_generator(images, levels)
    objectness, deltas = model.rpn.head(levels)
    counts = [score[0].numel() for score in objectness]
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    boxes = model.rpn.box_coder.decode(deltas, anchors).view(len(anchors), -1, 4)
    logits = objectness.view(len(anchors), -1)
    return [
        _proposals(model, boxes[index], logits[index], counts, size_hw, tolerance)
        for index, size_hw in enumerate(images.image_sizes)
    ]


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
    doubt_px: float,
) -> Bracket:
    """doubt_px: how far the corners of rois may lie from where another program has them."""
    heads = model.roi_heads
    rois, sure, pooled = _pooled(listed_pool(heads.box_roi_pool), features, rois, sure, doubt_px)
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


def _pooled(
    pool: PyramidRoiAlign | OneMapRoiPool, features: dict[str, Tensor], rois: Tensor, sure: Tensor, doubt_px: float
) -> tuple[Tensor, Tensor, Tensor]:
    """rois and sure, those that hang on rounding once for each way it may go, and what is pooled of them."""
    listed = [features[name] for name in pool.names]
    if isinstance(pool, OneMapRoiPool):
        rois, sure = _at_every_cell(pool.pool.stride_px, rois, sure, doubt_px)
        return rois, sure, pool(listed, rois)
    rois, sure, levels = _at_every_level(pool, rois, sure, doubt_px)
    return rois, sure, pool.at_levels(listed, rois, levels)


def _at_every_cell(stride_px: int, rois: Tensor, sure: Tensor, box_px: float) -> tuple[Tensor, Tensor]:
    """Regions with a corner so close to the middle of a cell that rounding decides are taken every way, none sure."""
    low, high = ((rois[:, 1:] + shift) / stride_px + 0.5 for shift in (-box_px, box_px))
    either = (low.floor() != high.floor()).any(1)
    ways = torch.cartesian_prod(*[torch.tensor([-box_px, box_px])] * 4)
    every = rois[either].repeat_interleave(len(ways), 0)
    every[:, 1:] += ways.repeat(int(either.sum()), 1)
    unsure = torch.zeros(len(every), dtype=torch.bool)
    return torch.cat([rois[~either], every]), torch.cat([sure[~either], unsure])


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
