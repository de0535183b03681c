"""
Every architecture by name.

The small ones are ours: a ResNet-18 whose last stage has one block, a 96-channel FPN and a 256-wide box head, about
8 million parameters, meant to be trained from scratch on a few hundred images. The classic ones are those of the papers
(model/classic/). The others are torchvision's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
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

from model.channels import narrow
from model.classic.fast_rcnn import build_fast_rcnn
from model.classic.faster_rcnn import build_faster_rcnn
from model.classic.trunks import TrunkName
from service.bundle import Task

FPN_CHANNELS = 96
BOX_HEAD_CHANNELS = 256


@dataclass(frozen=True)
class Evidence:
    """What is known of an architecture before it is trained on anything of yours. AP in percent on COCO val2017."""

    params: int  # with evidence_classes; published counts leave out the frozen batch norms of the v1 trunks
    gflops: float  # multiply-adds, as torchvision counts them
    source: str
    box_ap: float | None = None
    mask_ap: float | None = None
    keypoint_ap: float | None = None


@dataclass(frozen=True)
class Architecture:
    """How to build a model, and the evidence for it."""

    build: Callable[..., FasterRCNN]
    task: Task
    evidence: Evidence

    @property
    def evidence_classes(self) -> int:
        """The class count the evidence is of, background counted."""
        return 2 if self.task == "keypoints" else 91


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


def _classic(build: Callable[..., FasterRCNN], trunk: TrunkName, evidence: Evidence) -> Architecture:
    return Architecture(partial(build, trunk=trunk), "detection", evidence)


_PUBLISHED = "torchvision 0.29.2, weights COCO_V1"
_MEASURED = "measured on one 320 x 448 canvas"

ARCHITECTURES: dict[str, Architecture] = {
    "fasterrcnn_small_fpn": Architecture(_faster_small, "detection", Evidence(8_352_278, 8.0, _MEASURED)),
    "maskrcnn_small_fpn": Architecture(_mask_small, "segmentation", Evidence(8_730_225, 8.0, _MEASURED)),
    "classic_fastrcnn_vgg16": _classic(build_fast_rcnn, "vgg16", Evidence(136_108_291, 311.5, _MEASURED)),
    "classic_fastrcnn_zf": _classic(build_fast_rcnn, "zf", Evidence(73_739_843, 158.0, _MEASURED)),
    "classic_fasterrcnn_vgg16": _classic(build_faster_rcnn, "vgg16", Evidence(138_495_801, 81.6, _MEASURED)),
    "classic_fasterrcnn_zf": _classic(build_faster_rcnn, "zf", Evidence(74_343_801, 25.0, _MEASURED)),
    "fasterrcnn_resnet50_fpn": Architecture(
        _torchvision("fasterrcnn_resnet50_fpn"), "detection", Evidence(41_755_286, 134.38, _PUBLISHED, 37.0)
    ),
    "fasterrcnn_resnet50_fpn_v2": Architecture(
        _torchvision("fasterrcnn_resnet50_fpn_v2"), "detection", Evidence(43_712_278, 280.371, _PUBLISHED, 46.7)
    ),
    "fasterrcnn_mobilenet_v3_large_fpn": Architecture(
        _torchvision("fasterrcnn_mobilenet_v3_large_fpn"), "detection", Evidence(19_386_354, 4.494, _PUBLISHED, 32.8)
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Architecture(
        _torchvision("fasterrcnn_mobilenet_v3_large_320_fpn"),
        "detection",
        Evidence(19_386_354, 0.719, _PUBLISHED, 22.8),
    ),
    "maskrcnn_resnet50_fpn": Architecture(
        _torchvision("maskrcnn_resnet50_fpn"), "segmentation", Evidence(44_401_393, 134.38, _PUBLISHED, 37.9, 34.6)
    ),
    "maskrcnn_resnet50_fpn_v2": Architecture(
        _torchvision("maskrcnn_resnet50_fpn_v2"), "segmentation", Evidence(46_359_409, 333.577, _PUBLISHED, 47.4, 41.8)
    ),
    "keypointrcnn_resnet50_fpn": Architecture(
        _torchvision("keypointrcnn_resnet50_fpn"),
        "keypoints",
        Evidence(59_137_258, 137.42, _PUBLISHED, 54.6, keypoint_ap=65.0),
    ),
}


def build(name: str, num_classes: int, *, widths: Mapping[str, int] | None = None, **options: Any) -> FasterRCNN:
    """
    An untrained model; num_classes counts the background. Options are torchvision's keywords.

    `widths` makes it narrower: channels by group (model/channels.py), as a pruned model's recipe and bundle state them.
    Raises ValueError naming the known architectures if the name is not one of them, ChannelsInvalid if it cannot have
    those widths.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"no architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    model = ARCHITECTURES[name].build(num_classes, **options)
    if widths is not None:
        narrow(model, widths)
    return model


def trunk_norms(model: FasterRCNN) -> list[nn.BatchNorm2d]:
    """The batch norms of the trunk, without those of the pyramid."""
    return [module for module in model.backbone.body.modules() if isinstance(module, nn.BatchNorm2d)]


def set_trunk_eps(model: FasterRCNN, eps: float) -> None:
    """Give every batch norm of the trunk this epsilon."""
    for norm in trunk_norms(model):
        norm.eps = eps
