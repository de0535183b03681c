"""
Fast R-CNN's second half (Girshick 2015, section 2): regions of the feature map -> a class and a box each.

RoI max pooling to 7x7, two fully connected layers, then two siblings: a softmax over K + 1 classes and 4K box offsets.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads

from model.classic.box_coding import TARGET_STD, encode
from model.classic.losses import detector_loss
from model.classic.minibatch import (
    BACKGROUND_IOU,
    OBJECT_IOU,
    OBJECT_SHARE,
    REGIONS_A_STEP,
    label_regions,
    sample,
)
from model.classic.roi_pool import OUTPUT_HW, RoiPool
from model.classic.rpn import start_anew
from model.classic.truncated_svd import factored

FC_CHANNELS = 4096  # of VGG-16's and ZF's fully connected layers
DROPOUT = 0.5
_BOX_STD = 0.001  # of the normal distribution the box layer starts from


class FullyConnected(nn.Module):
    """Two layers and dropout behind each, as VGG-16's and ZF's: (R, C, 7, 7) -> (R, out_channels)."""

    def __init__(self, channels: int, out_channels: int = FC_CHANNELS, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.fc6: nn.Module = nn.Linear(channels * OUTPUT_HW[0] * OUTPUT_HW[1], out_channels)
        self.fc7: nn.Module = nn.Linear(out_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def truncate(self, fc6_rank: int, fc7_rank: int) -> None:
        """Each layer as two of that rank, by singular value decomposition of its weights."""
        self.fc6, self.fc7 = factored(self.fc6, fc6_rank), factored(self.fc7, fc7_rank)  # type: ignore[arg-type]

    def forward(self, pooled: Tensor) -> Tensor:
        hidden = self.dropout(self.fc6(pooled.flatten(1)).relu())
        return self.dropout(self.fc7(hidden).relu())


class Siblings(nn.Module):
    """(R, C) -> logits (R, K + 1), background first, and offsets (R, 4 (K + 1)), those of the background zero."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(channels, num_classes)
        self.bbox_pred = nn.Linear(channels, 4 * (num_classes - 1))
        start_anew(self.cls_score)
        start_anew(self.bbox_pred, _BOX_STD)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        # torchvision's heads expect offsets of the background too: nothing reads them.
        return self.cls_score(features), functional.pad(self.bbox_pred(features), (4, 0))


class Detector(RoIHeads):
    """Answers as torchvision's RoI heads do; samples and weighs its regions as the paper does."""

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        head_channels: int = FC_CHANNELS,
        dropout: float = DROPOUT,
        svd_ranks: tuple[int, int] | None = None,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        detections_per_img: int = 100,
    ) -> None:
        super().__init__(
            RoiPool(),
            FullyConnected(channels, head_channels, dropout),
            Siblings(head_channels, num_classes),
            OBJECT_IOU,
            BACKGROUND_IOU[1],
            REGIONS_A_STEP,
            OBJECT_SHARE,
            tuple(1 / std for std in TARGET_STD),
            score_thresh,
            nms_thresh,
            detections_per_img,
        )
        if svd_ranks is not None:
            self.box_head.truncate(*svd_ranks)

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections an image; in training, with targets, none and the losses by name."""
        if not self.training or targets is None:
            found: tuple[list[dict[str, Tensor]], dict[str, Tensor]] = super().forward(
                features, proposals, image_shapes
            )
            return found
        chosen = [
            choose(regions, target, REGIONS_A_STEP // len(proposals))
            for regions, target in zip(proposals, targets, strict=True)
        ]
        regions, labels, deltas = (list(column) for column in zip(*chosen, strict=True))
        logits, offsets = self.box_predictor(self.box_head(self.box_roi_pool(features, regions)))
        by_class = offsets.view(len(offsets), -1, 4)[:, 1:]
        classifier, boxes = detector_loss(logits, by_class, torch.cat(labels), torch.cat(deltas))
        return [], {"loss_classifier": classifier, "loss_box_reg": boxes}


@torch.no_grad()
def choose(regions: Tensor, target: dict[str, Tensor], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """
    One image's part of a step: at most count regions (S, 4), their labels (S,), box targets (S, 4).

    The objects' own boxes are among the candidates, as in the published code: early proposals may miss them all.
    """
    boxes = target["boxes"]
    candidates = torch.cat([regions, boxes])
    assigned = label_regions(candidates, boxes, target["labels"])
    rows = sample(assigned.labels, count, round(count * OBJECT_SHARE))
    chosen = candidates[rows]
    wanted = boxes[assigned.objects[rows]] if len(boxes) else chosen
    return chosen, assigned.labels[rows], encode(chosen, wanted, TARGET_STD)
