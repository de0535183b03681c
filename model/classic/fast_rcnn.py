"""
Fast R-CNN (Girshick 2015): a network with two inputs, images and regions of them; regions come from somewhere else.

Training takes them from the targets, where they are rows labelled 0, background: they move with their objects through
whatever is done to an image. An image without such rows, and any image at test, gets windows laid over it
(service/proposals.py), as the server does where a request names none.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.vgg import VGG

from model.classic.faster_rcnn import IMAGENET_MEAN, IMAGENET_STD
from model.classic.region_head import DROPOUT, FC_CHANNELS, Detector
from model.classic.trunks import Trunk, TrunkName, build_trunk
from service.bundle import Proposals
from service.proposals import windows

Target = dict[str, Tensor]


class GivenRegions(nn.Module):
    """Stands where a Faster R-CNN has its RPN: hands on the boxes of the targets, windows where there are none."""

    def __init__(self, spec: Proposals) -> None:
        super().__init__()
        self.spec = spec

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """-> regions (P, 4) of each image, and no losses."""
        device = images.tensors.device
        given = [target["boxes"] for target in targets] if targets else [torch.zeros(0, 4)] * len(images.image_sizes)
        pairs = zip(given, images.image_sizes, strict=True)
        return [boxes if len(boxes) else self._windows(size_hw).to(device) for boxes, size_hw in pairs], {}

    def _windows(self, size_hw: tuple[int, int]) -> Tensor:
        return torch.from_numpy(windows(self.spec, size_hw))


class ClassicFastRCNN(FasterRCNN):
    """Called as torchvision's own models are; `detect` is its two inputs in plain sight."""

    def __init__(self, trunk: nn.Module, spec: Proposals, detector: Detector, resize: nn.Module) -> None:
        GeneralizedRCNN.__init__(self, trunk, GivenRegions(spec), detector, resize)

    def detect(self, images: list[Tensor], regions: list[Tensor]) -> Any:
        """images (3, H, W) in [0, 1] and regions (P, 4) of each in its pixels -> detections, as torchvision's."""
        return self(images, [{"boxes": boxes} for boxes in regions])

    def forward(self, images: list[Tensor], targets: list[Target] | None = None) -> Any:
        """Losses by name in training, else detections an image; targets then hold regions alone, or are left out."""
        if not self.training or targets is None:
            return super().forward(images, targets)
        listed, placed = self.transform(images, targets)
        features = self.backbone(listed.tensors)
        rows = [{"boxes": target["boxes"][target["labels"] == 0]} for target in placed]
        objects = [{name: value[target["labels"] > 0] for name, value in target.items()} for target in placed]
        regions, _ = self.rpn(listed, features, rows)
        return self.roi_heads(features, regions, listed.image_sizes, objects)[1]


def build_fast_rcnn(
    num_classes: int,
    *,
    trunk: TrunkName = "vgg16",
    width: float = 1.0,
    batch_norm: bool = False,
    window_sides_px: Sequence[float] = (64, 128, 256, 512),
    window_height_to_width: Sequence[float] = (0.5, 1.0, 2.0),
    window_step: float = 0.25,
    most_proposals: int = 2000,
    head_channels: int = FC_CHANNELS,
    dropout: float = DROPOUT,
    svd_ranks: tuple[int, int] | None = None,
    box_score_thresh: float = 0.05,
    box_nms_thresh: float = 0.5,
    box_detections_per_img: int = 100,
    min_size: int = 600,
    max_size: int = 1000,
    **_of_an_rpn: int,
) -> ClassicFastRCNN:
    """An untrained model; num_classes counts the background, K + 1. Options of an RPN (rpn_...) are left aside."""
    if unknown := [name for name in _of_an_rpn if not name.startswith("rpn_")]:
        raise TypeError(f"a Fast R-CNN has no option {unknown[0]}")
    spec = Proposals(
        most=most_proposals,
        sides_px=tuple(window_sides_px),
        height_to_width=tuple(window_height_to_width),
        step=window_step,
    )
    built = build_trunk(trunk, width=width, batch_norm=batch_norm)
    detector = Detector(
        built.out_channels,
        num_classes,
        head_channels=head_channels,
        dropout=dropout,
        svd_ranks=svd_ranks,
        score_thresh=box_score_thresh,
        nms_thresh=box_nms_thresh,
        detections_per_img=box_detections_per_img,
    )
    resize = GeneralizedRCNNTransform(min_size, max_size, list(IMAGENET_MEAN), list(IMAGENET_STD))
    return ClassicFastRCNN(built, spec, detector, resize)


def from_vgg16(network: VGG, num_classes: int, **options: Any) -> ClassicFastRCNN:
    """
    The paper's three changes to a pretrained network (section 2.2), of torchvision's VGG-16, whose weights are shared.

    Its last max pool gives way to RoI pooling, its last layer to two siblings, and it takes two inputs.
    """
    model = build_fast_rcnn(num_classes, trunk="vgg16", **options)
    convolutions = list(network.features.children())[:-1]
    model.backbone = Trunk(nn.Sequential(*convolutions), 512)
    fully_connected = [layer for layer in network.classifier.children() if isinstance(layer, nn.Linear)][:2]
    model.roi_heads.box_head.fc6, model.roi_heads.box_head.fc7 = fully_connected
    return model
