"""
Every architecture by name.

The small ones are ours: a ResNet-18 whose last stage has one block, a 96-channel FPN and a 256-wide box head, about
8 million parameters, meant to be trained from scratch on a few hundred images. The others are torchvision's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torchvision.models import get_model
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import MultiScaleRoIAlign

FPN_CHANNELS = 96
BOX_HEAD_CHANNELS = 256


@dataclass(frozen=True)
class Architecture:
    """How to build a model, and the published evidence for it (source: torchvision 0.29.2 weights metadata)."""

    build: Callable[..., FasterRCNN]
    task: str  # detection | segmentation
    params_millions: float
    box_ap: float | None = None  # COCO val2017
    mask_ap: float | None = None


def _trunk() -> BackboneWithFPN:
    body = ResNet(BasicBlock, [2, 2, 2, 1])
    layers = {"layer1": "0", "layer2": "1", "layer3": "2", "layer4": "3"}
    return BackboneWithFPN(body, layers, [64, 128, 256, 512], FPN_CHANNELS)


def _anchors(smallest_px: int) -> AnchorGenerator:
    sizes = tuple((smallest_px * 2**level,) for level in range(5))
    return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)


def _box_heads(num_classes: int) -> dict[str, nn.Module]:
    return {
        "box_head": TwoMLPHead(FPN_CHANNELS * 7 * 7, BOX_HEAD_CHANNELS),
        "box_predictor": FastRCNNPredictor(BOX_HEAD_CHANNELS, num_classes),
    }


def _faster_small(num_classes: int, *, smallest_anchor_px: int = 16, **options: Any) -> FasterRCNN:
    anchors = _anchors(smallest_anchor_px)
    return FasterRCNN(_trunk(), None, rpn_anchor_generator=anchors, **_box_heads(num_classes), **options)


def _mask_small(num_classes: int, *, smallest_anchor_px: int = 16, **options: Any) -> MaskRCNN:
    return MaskRCNN(
        _trunk(),
        None,
        rpn_anchor_generator=_anchors(smallest_anchor_px),
        mask_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=14, sampling_ratio=2),
        mask_head=MaskRCNNHeads(FPN_CHANNELS, (FPN_CHANNELS,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(FPN_CHANNELS, FPN_CHANNELS, num_classes),
        **_box_heads(num_classes),
        **options,
    )


def _torchvision(name: str) -> Callable[..., FasterRCNN]:
    def build(num_classes: int, **options: Any) -> FasterRCNN:
        return get_model(name, weights=None, weights_backbone=None, num_classes=num_classes, **options)

    return build


ARCHITECTURES: dict[str, Architecture] = {
    "fasterrcnn_small_fpn": Architecture(_faster_small, "detection", 8.2),
    "maskrcnn_small_fpn": Architecture(_mask_small, "segmentation", 8.6),
    "fasterrcnn_resnet50_fpn": Architecture(_torchvision("fasterrcnn_resnet50_fpn"), "detection", 41.76, 37.0),
    "fasterrcnn_resnet50_fpn_v2": Architecture(_torchvision("fasterrcnn_resnet50_fpn_v2"), "detection", 43.71, 46.7),
    "maskrcnn_resnet50_fpn": Architecture(_torchvision("maskrcnn_resnet50_fpn"), "segmentation", 44.40, 37.9, 34.6),
    "maskrcnn_resnet50_fpn_v2": Architecture(
        _torchvision("maskrcnn_resnet50_fpn_v2"), "segmentation", 46.36, 47.4, 41.8
    ),
}


def build(name: str, num_classes: int, **options: Any) -> FasterRCNN:
    """
    An untrained model; num_classes counts the background. Options are torchvision's FasterRCNN/MaskRCNN keywords.

    Raises ValueError naming the known architectures if the name is not one of them.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"no architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name].build(num_classes, **options)
