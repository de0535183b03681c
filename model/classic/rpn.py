"""
The region proposal network (Ren et al. 2015, section 3.1): a 3x3 convolution slides over the feature map; at every cell
two siblings of 1x1 tell for each of k anchors whether it is an object (2k scores) and where (4k offsets).

Proposals: the best 6000 (in training 12 000) by score, clipped to the image, NMS at 0.7, then the best 300 (2000).
"""

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers

from model.classic.anchors import CellAnchors
from model.classic.box_coding import encode
from model.classic.losses import rpn_loss
from model.classic.minibatch import (
    RPN_BATCH,
    RPN_MOST_POSITIVE,
    RPN_NEGATIVE_IOU,
    RPN_POSITIVE_IOU,
    label_anchors,
    sample,
)

NMS_IOU = 0.7
NEW_LAYER_STD = 0.01  # of the normal distribution new layers start from, in both papers


class RpnHead(nn.Module):
    """A feature map (N, C, h, w) -> logits (N, k, h, w) of each anchor being an object, and offsets (N, 4k, h, w)."""

    def __init__(self, channels: int, anchors_a_cell: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls_logits = nn.Conv2d(channels, 2 * anchors_a_cell, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * anchors_a_cell, 1)
        start_anew(self)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """One level in, one out. A softmax of two scores is the sigmoid of their difference."""
        (feature,) = features
        hidden = self.conv(feature).relu()
        scores = self.cls_logits(hidden)
        background, objects = scores[:, 0::2], scores[:, 1::2]
        return [objects - background], [self.bbox_pred(hidden)]


def start_anew(layers: nn.Module, std: float = NEW_LAYER_STD) -> None:
    """Normal weights around zero, no bias."""
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Rpn(RegionProposalNetwork):
    """Proposes as torchvision's does, over one level; labels, samples and weighs its anchors as the paper does."""

    def __init__(
        self,
        channels: int,
        anchors: CellAnchors,
        pre_nms_top_n: dict[str, int],
        post_nms_top_n: dict[str, int],
        nms_iou: float = NMS_IOU,
    ) -> None:
        head = RpnHead(channels, anchors.num_anchors_per_location()[0])
        share = RPN_MOST_POSITIVE / RPN_BATCH
        matching = (RPN_POSITIVE_IOU, RPN_NEGATIVE_IOU, RPN_BATCH, share)
        super().__init__(anchors, head, *matching, pre_nms_top_n, post_nms_top_n, nms_iou)

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[dict[str, Tensor]] | None = None,
        *,
        proposing: bool = True,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """-> proposals (P, 4) an image, best first, none unless proposing; and with targets the losses by name."""
        maps = list(features.values())
        logits, deltas = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        flat_logits, flat_deltas = concat_box_prediction_layers(logits, deltas)
        scores, offsets = flat_logits.view(len(anchors), -1), flat_deltas.view(len(anchors), -1, 4)
        proposals = self._propose(images, anchors, scores.detach(), offsets.detach()) if proposing else []
        losses = {} if targets is None else self._losses(images, anchors[0], scores, offsets, targets)
        return proposals, losses

    def _propose(self, images: ImageList, anchors: list[Tensor], scores: Tensor, offsets: Tensor) -> list[Tensor]:
        boxes = self.box_coder.decode(offsets.reshape(-1, 4), anchors).view(*offsets.shape)
        kept, _ = self.filter_proposals(boxes, scores, images.image_sizes, [len(anchors[0])])
        return kept

    def _losses(
        self, images: ImageList, anchors: Tensor, scores: Tensor, offsets: Tensor, targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The mean over images of each one's minibatch."""
        cells = len(anchors) // self.anchor_generator.num_anchors_per_location()[0]
        parts = []
        for image_hw, score, offset, target in zip(images.image_sizes, scores, offsets, targets, strict=True):
            assigned = label_anchors(anchors, target["boxes"], image_hw)
            chosen = sample(assigned.labels, RPN_BATCH, RPN_MOST_POSITIVE)
            labels = assigned.labels[chosen]
            wanted = _objects_of(anchors[chosen], target["boxes"], assigned.objects[chosen])
            coded = encode(anchors[chosen], wanted)
            parts.append(torch.stack(rpn_loss(score[chosen], offset[chosen], labels, coded, RPN_BATCH, cells)))
        objectness, boxes = torch.stack(parts).mean(0)
        return {"loss_objectness": objectness, "loss_rpn_box_reg": boxes}


def _objects_of(regions: Tensor, boxes: Tensor, objects: Tensor) -> Tensor:
    """boxes[objects]; where an image has none, the regions themselves, which no loss reads."""
    return boxes[objects] if len(boxes) else regions
