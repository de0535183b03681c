"""
The exportable, batch-first form of a trained torchvision Faster, Mask or Keypoint R-CNN with FPN: no If, no Loop.

The cut: DetectorGraph ends at the K best candidates before class-wise NMS, the other two start from its features.
Shape shorthand: N images · H, W canvas · A anchors of all levels · P proposals an image · K candidates · R regions.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import MultiScaleRoIAlign, batched_nms, roi_align

from model.classic.anchors import CellAnchors
from model.classic.fast_rcnn import GivenRegions
from model.classic.roi_pool import RoiPool


class _LevelwiseNms(torch.autograd.Function):
    """
    One NMS over images and pyramid levels: a single NonMaxSuppression node when exported, torchvision's eagerly.

    boxes (N, A, 4), scores (N, L, A) with -1 where an anchor is of another level -> (M, 3) int64: image, level, anchor.
    """

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
        rows = []
        for image in range(boxes.shape[0]):
            best, level = scores[image].max(0)
            candidates = torch.where(best > 0)[0]
            kept = candidates[batched_nms(boxes[image, candidates], best[candidates], level[candidates], iou_threshold)]
            rows.append(torch.stack([torch.full_like(kept, image), level[kept], kept], 1))
        return torch.cat(rows)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou_threshold: float) -> Any:
        per_level = g.op("Constant", value_t=torch.tensor([2**31 - 1], dtype=torch.int64))
        iou = g.op("Constant", value_t=torch.tensor([iou_threshold], dtype=torch.float32))
        floor = g.op("Constant", value_t=torch.tensor([0.0], dtype=torch.float32))
        return g.op("NonMaxSuppression", boxes, scores, per_level, iou, floor)


def _topk_at_most(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best along axis 1, or all where there are fewer; k stays an expression of the shape when traced."""
    count = torch.minimum(torch.tensor(k), torch._shape_as_tensor(values)[1])
    return values.topk(count if torch.jit.is_tracing() else int(count), dim=1)  # type: ignore[arg-type,attr-defined]


def _gather_rows(values: Tensor, index: Tensor) -> Tensor:
    """values (N, A, C), index (N, P) -> (N, P, C)."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[2]))


def _clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Clip boxes (N, ..., 4) to sizes (N, 2) height, width."""
    limits = sizes[:, [1, 0, 1, 0]].to(boxes.dtype).view(-1, *[1] * (boxes.dim() - 2), 4)
    return torch.minimum(boxes.clamp(min=0), limits)


def _decode(deltas: Tensor, anchors: Tensor, weights: tuple[float, ...], clip: float) -> Tensor:
    """Box regression (Fast R-CNN, Girshick 2015, section 2.3): deltas and anchors (..., 4) -> boxes (..., 4)."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + 0.5 * size
    scale = deltas.new_tensor(weights)
    shift = deltas[..., :2] / scale[:2]
    stretch = (deltas[..., 2:] / scale[2:]).clamp(max=clip)
    centre, half = centre + shift * size, 0.5 * size * stretch.exp()
    return torch.cat([centre - half, centre + half], -1)


class PyramidRoiAlign(nn.Module):
    """torchvision's MultiScaleRoIAlign with the levels put back in order by a gather instead of a scatter."""

    def __init__(self, pool: MultiScaleRoIAlign) -> None:
        super().__init__()
        if pool.scales is None or pool.map_levels is None:
            raise ValueError(
                "run the eager model once before wrapping it: the pool learns its scales from the first image"
            )
        self.scales = list(pool.scales)
        self.names = list(pool.featmap_names)[: len(self.scales)]  # MobileNet has two of the four levels named
        self.mapper = pool.map_levels
        self.output_hw, self.sampling_ratio = tuple(pool.output_size), pool.sampling_ratio

    def forward(self, features: list[Tensor], rois: Tensor) -> Tensor:
        """features, one (N, C, h, w) a level; rois (R, 5) image index and box -> (R, C, *output_hw)."""
        return self.at_levels(features, rois, self.levels(rois[:, 3:5] - rois[:, 1:3]))

    def levels(self, sides: Tensor) -> Tensor:
        """The pyramid level (R,) of regions by their width and height (R, 2): Lin 2017, equation 1."""
        area_root = (sides[:, 0] * sides[:, 1]).sqrt()
        level = torch.floor(self.mapper.lvl0 + torch.log2(area_root / self.mapper.s0) + self.mapper.eps)
        return level.clamp(self.mapper.k_min, self.mapper.k_max) - self.mapper.k_min

    def at_levels(self, features: list[Tensor], rois: Tensor, level: Tensor) -> Tensor:
        """As forward, every region at the level (R,) given for it."""
        pooled, order = [], []
        for index, (feature, scale) in enumerate(zip(features, self.scales, strict=True)):
            chosen = torch.where(level == index)[0]
            order.append(chosen)
            pooled.append(roi_align(feature, rois[chosen], self.output_hw, scale, self.sampling_ratio))
        return torch.cat(pooled)[torch.cat(order).argsort()]


class OneMapRoiPool(nn.Module):
    """RoI max pooling of a classic model's one feature map, called as PyramidRoiAlign is."""

    def __init__(self, pool: RoiPool) -> None:
        super().__init__()
        self.pool, self.names = pool, list(pool.names)

    def forward(self, features: list[Tensor], rois: Tensor) -> Tensor:
        """features, one (N, C, h, w), and rois (R, 5) -> (R, C, *output_hw)."""
        return self.pool.over(features, rois)


def listed_pool(pool: nn.Module) -> PyramidRoiAlign | OneMapRoiPool:
    """The RoI pooling of a model as graphs call it."""
    return OneMapRoiPool(pool) if isinstance(pool, RoiPool) else PyramidRoiAlign(pool)


class DetectorGraph(nn.Module):
    """Trunk, RPN and box head. candidates is K, the most an image can hand on to NMS."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: FasterRCNN, candidates: int, mean: list[float], std: list[float], *, half_trunk: bool = False
    ) -> None:
        super().__init__()
        self.backbone, self.rpn, self.heads = model.backbone, model.rpn, model.roi_heads
        self.half_trunk = half_trunk
        if half_trunk:
            self.backbone = copy.deepcopy(model.backbone).half()
        self.box_pool = listed_pool(model.roi_heads.box_roi_pool)
        self.takes_proposals = isinstance(model.rpn, GivenRegions)
        self.candidates = candidates
        self.with_features = model.roi_heads.has_mask() or model.roi_heads.has_keypoint()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor, sizes: Tensor, proposals: Tensor | None = None) -> tuple[Tensor, ...]:
        """
        images uint8 (N, H, W, 3), sizes int64 (N, 2) -> boxes (N, K, 4), scores, labels (N, K), features...

        proposals (N, P, 4) canvas pixels are for a Fast R-CNN, which makes none; those without area find nothing.
        """
        pixels = self._normalise(images, sizes)
        features = self.backbone(pixels.half() if self.half_trunk else pixels)
        features = {name: feature.float() for name, feature in features.items()}
        if proposals is None:
            proposals, valid = self._propose(list(features.values()), images, sizes)
        else:
            valid = (proposals[..., 2:] > proposals[..., :2]).all(-1)
        pyramid = [features[name] for name in self.box_pool.names]
        detections = self._classify(pyramid, proposals, valid, sizes)
        return (*detections, *pyramid) if self.with_features else detections

    def _normalise(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Normalise, then put zeros back beyond each image's valid size: padding is zero after normalising."""
        pixels = (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        rows = torch.arange(images.shape[1]).view(1, 1, -1, 1) < sizes[:, 0].view(-1, 1, 1, 1)
        columns = torch.arange(images.shape[2]).view(1, 1, 1, -1) < sizes[:, 1].view(-1, 1, 1, 1)
        return pixels * (rows & columns).float()

    def _propose(self, features: list[Tensor], images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """The best proposals of each image: boxes (N, P, 4) and whether each slot holds one (N, P)."""
        boxes, logits, levels = [], [], []
        objectness, deltas = self.rpn.head(features)
        for level, (score, delta) in enumerate(zip(objectness, deltas, strict=True)):
            anchors = self._anchors(level, score, images)
            score = score.permute(0, 2, 3, 1).flatten(1)
            n, _, h, w = delta.shape
            delta = delta.view(n, -1, 4, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 4)
            best, index = _topk_at_most(score, self.rpn._pre_nms_top_n["testing"])
            coder = self.rpn.box_coder
            box = _decode(_gather_rows(delta, index), anchors[index], coder.weights, coder.bbox_xform_clip)
            boxes.append(box)
            logits.append(best)
            levels.append(torch.full_like(best, level))
        return self._suppress(_clip(torch.cat(boxes, 1), sizes), torch.cat(logits, 1), torch.cat(levels, 1))

    def _anchors(self, level: int, score: Tensor, images: Tensor) -> Tensor:
        """Anchors of one level (h * w * cells, 4), as torchvision's AnchorGenerator lays them."""
        height, width = score.shape[2:]
        cells = self.rpn.anchor_generator.cell_anchors[level]
        generator = self.rpn.anchor_generator
        fixed = generator.stride_px if isinstance(generator, CellAnchors) else None
        y = torch.arange(height) * (fixed or images.shape[1] // height)
        x = torch.arange(width) * (fixed or images.shape[2] // width)
        shift_y, shift_x = torch.meshgrid(y, x, indexing="ij")
        shifts = torch.stack([shift_x, shift_y, shift_x, shift_y], -1).reshape(-1, 1, 4)
        return (shifts.float() + cells.view(1, -1, 4)).reshape(-1, 4)

    def _suppress(self, boxes: Tensor, logits: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        scores = logits.sigmoid()
        sides = boxes[..., 2:] - boxes[..., :2]
        big_enough = (sides >= self.rpn.min_size).all(-1) & (scores >= self.rpn.score_thresh)
        of_level = torch.arange(len(self.rpn.anchor_generator.sizes)).view(1, -1, 1) == levels.unsqueeze(1)
        by_level = torch.where(of_level & big_enough.unsqueeze(1), scores.unsqueeze(1), -1.0)
        picked = _LevelwiseNms.apply(boxes, by_level, self.rpn.nms_thresh)
        kept = torch.zeros_like(scores).index_put((picked[:, 0], picked[:, 2]), torch.tensor(1.0))
        # Ranked by logit as torchvision does: sigmoid ties where it saturates.
        ranked, index = _topk_at_most(torch.where(kept > 0, logits, -torch.inf), self.rpn._post_nms_top_n["testing"])
        return _gather_rows(boxes, index), ranked > -torch.inf

    def _classify(
        self, features: list[Tensor], proposals: Tensor, valid: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The K best (proposal, class) pairs of each image; only they are decoded."""
        n, p = proposals.shape[:2]
        image = torch.arange(n).view(-1, 1, 1).expand(-1, p, 1).to(proposals.dtype)
        rois = torch.cat([image, proposals], -1).reshape(-1, 5)
        logits, deltas = self.heads.box_predictor(self.heads.box_head(self.box_pool(features, rois)))
        foreground = logits.softmax(-1)[:, 1:] * valid.reshape(-1, 1)
        classes = foreground.shape[1]
        scores, index = _topk_at_most(foreground.reshape(n, -1), self.candidates)
        box = torch.div(index, classes, rounding_mode="floor")
        delta = _gather_rows(deltas.view(n, -1, classes + 1, 4)[:, :, 1:].reshape(n, -1, 4), index)
        coder = self.heads.box_coder
        boxes = _clip(_decode(delta, _gather_rows(proposals, box), coder.weights, coder.bbox_xform_clip), sizes)
        visible = (boxes[..., 2:] - boxes[..., :2] >= 1e-2).all(-1)  # torchvision drops thinner boxes too
        return boxes, scores * visible, index % classes + 1


class MaskHeadGraph(nn.Module):
    """Mask head over chosen regions: *features, rois (R, 5), labels (R,) -> masks (R, 28, 28) in [0, 1]."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.pool = PyramidRoiAlign(model.roi_heads.mask_roi_pool)
        self.head, self.predictor = model.roi_heads.mask_head, model.roi_heads.mask_predictor

    def forward(self, *inputs: Tensor) -> Tensor:
        *features, rois, labels = inputs
        logits = self.predictor(self.head(self.pool(features, rois)))
        side = logits.shape[-1]
        index = labels.view(-1, 1, 1, 1).expand(-1, 1, side, side)
        return logits.gather(1, index)[:, 0].sigmoid()


class KeypointHeadGraph(nn.Module):
    """Keypoint head over chosen regions: *features, rois (R, 5) -> heatmaps (R, J, 56, 56), logits."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.pool = PyramidRoiAlign(model.roi_heads.keypoint_roi_pool)
        self.head, self.predictor = model.roi_heads.keypoint_head, model.roi_heads.keypoint_predictor

    def forward(self, *inputs: Tensor) -> Tensor:
        *features, rois = inputs
        heatmaps: Tensor = self.predictor(self.head(self.pool(features, rois)))
        return heatmaps
