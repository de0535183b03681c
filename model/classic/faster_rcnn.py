"""
Faster R-CNN as first published (Ren et al. 2015): a VGG-16 or ZF trunk shared by an RPN and a Fast R-CNN detector.

Trained jointly, gradients through the proposals' places left out ("approximate joint training"), or in the paper's four
steps (section 3.2), each a stage of its own:
1. `rpn`               an RPN on a trunk of its own
2. `detector`          a detector on another trunk, from the proposals of step 1: nothing is shared
3. `rpn_shared`        a new RPN on the detector's trunk, which is frozen
4. `detector_shared`   the detector's own layers again, from the proposals of step 3; trunk and RPN are frozen
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from model.classic.anchors import PAPER_HEIGHT_TO_WIDTH, PAPER_SIDES_PX, CellAnchors
from model.classic.region_head import DROPOUT, FC_CHANNELS, Detector
from model.classic.rpn import NMS_IOU, Rpn
from model.classic.steps import STEPS, Step
from model.classic.trunks import Trunk, TrunkName, build_trunk

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Losses = dict[str, Tensor]


class Proposer(nn.Module):
    """What is left of step 1 in step 2: an RPN on its own trunk, frozen."""

    def __init__(self, backbone: nn.Module, rpn: Rpn) -> None:
        super().__init__()
        self.backbone, self.rpn = backbone, rpn


class ClassicFasterRCNN(FasterRCNN):
    """Called as torchvision's own models are. `begin` says which step of training it is in; at first `joint`."""

    backbone: nn.Module
    rpn: Rpn

    def __init__(self, new_trunk: Callable[[], Trunk], rpn: Rpn, detector: Detector, resize: nn.Module) -> None:
        trunk = new_trunk()
        GeneralizedRCNN.__init__(self, trunk, rpn, detector, resize)
        self.step: Step = "joint"
        self.proposer: Proposer | None = None
        self._new_trunk = new_trunk

    def begin(self, step: Step) -> None:
        """Freeze, keep and start anew what step asks for. Raises ValueError if there is no such step."""
        if step not in STEPS:
            raise ValueError(f"no step {step!r}; known: {', '.join(STEPS)}")
        self.step, self.proposer = step, None
        if step == "detector":
            self.proposer = Proposer(self.backbone, self.rpn)
            device = next(self.parameters()).device
            self.backbone = self._new_trunk().to(device)
        if step in ("detector", "rpn_shared"):
            self.rpn = self._new_rpn()
        for part in self.children():
            part.requires_grad_(part in self._learning())

    def _new_rpn(self) -> Rpn:
        """One that proposes as the present one does and knows nothing."""
        old = self.rpn
        rpn = Rpn(
            old.head.conv.in_channels, old.anchor_generator, old._pre_nms_top_n, old._post_nms_top_n, old.nms_thresh
        )
        device: torch.device = next(old.parameters()).device
        return rpn.to(device)

    def _learning(self) -> tuple[nn.Module, ...]:
        """The parts that the present step changes."""
        return {
            "joint": (self.backbone, self.rpn, self.roi_heads),
            "rpn": (self.backbone, self.rpn),
            "detector": (self.backbone, self.roi_heads),
            "rpn_shared": (self.rpn,),
            "detector_shared": (self.roi_heads,),
        }[self.step]

    def train(self, mode: bool = True) -> "ClassicFasterRCNN":
        """A frozen trunk stays in eval mode: its batch norms must not learn either."""
        super().train(mode)
        if mode and self.backbone not in self._learning():
            self.backbone.eval()
        if self.proposer is not None:
            self.proposer.backbone.eval()
        return self

    def forward(
        self,
        images: list[Tensor],
        targets: list[dict[str, Tensor]] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> Any:
        """
        images (3, H, W) in [0, 1] -> losses by name in training, else detections an image, as torchvision's.

        With proposals, which `propose` made of these images, a step that trains the detector alone makes none itself.
        """
        if not self.training or targets is None:
            return super().forward(images, targets)
        listed, placed = self.transform(images, targets)
        return self._losses(listed, placed, proposals)

    @torch.no_grad()
    def propose(self, images: list[Tensor]) -> list[Tensor]:
        """What `detector` and `detector_shared` learn from: regions (P, 4) an image in pixels as resized."""
        listed, _ = self.transform(images)
        trunk = self.backbone if self.proposer is None else self.proposer.backbone
        return self._fixed_proposals(listed, trunk(listed.tensors))

    def _losses(self, images: ImageList, targets: list[dict[str, Tensor]], fixed: list[Tensor] | None) -> Losses:
        """Of the parts that learn."""
        with torch.set_grad_enabled(self.backbone in self._learning()):
            features = self.backbone(images.tensors)
        if self.step in ("rpn", "rpn_shared"):
            return self.rpn(images, features, targets, proposing=False)[1]
        if self.step == "joint":
            proposals, proposal_losses = self.rpn(images, features, targets)
        else:
            proposals, proposal_losses = self._fixed_proposals(images, features) if fixed is None else fixed, {}
        _, losses = self.roi_heads(features, proposals, images.image_sizes, targets)
        return {**proposal_losses, **losses}

    @torch.no_grad()
    def _fixed_proposals(self, images: ImageList, features: dict[str, Tensor]) -> list[Tensor]:
        """What an RPN that is not trained proposes, as many as in training."""
        if self.proposer is None:
            return self.rpn(images, features)[0]
        return self.proposer.rpn(images, self.proposer.backbone(images.tensors))[0]


def build_faster_rcnn(
    num_classes: int,
    *,
    trunk: TrunkName = "vgg16",
    width: float = 1.0,
    batch_norm: bool = False,
    anchor_sides_px: Sequence[float] = PAPER_SIDES_PX,
    head_channels: int = FC_CHANNELS,
    dropout: float = DROPOUT,
    svd_ranks: tuple[int, int] | None = None,
    rpn_pre_nms_top_n_train: int = 12_000,
    rpn_pre_nms_top_n_test: int = 6_000,
    rpn_post_nms_top_n_train: int = 2_000,
    rpn_post_nms_top_n_test: int = 300,
    rpn_nms_thresh: float = NMS_IOU,
    box_score_thresh: float = 0.05,
    box_nms_thresh: float = 0.5,
    box_detections_per_img: int = 100,
    min_size: int = 600,
    max_size: int = 1000,
) -> ClassicFasterRCNN:
    """An untrained model, by default the paper's; num_classes counts the background, K + 1."""

    def new_trunk() -> Trunk:
        return build_trunk(trunk, width=width, batch_norm=batch_norm)

    with torch.device("meta"):
        channels = new_trunk().out_channels
    rpn = Rpn(
        channels,
        CellAnchors(anchor_sides_px, PAPER_HEIGHT_TO_WIDTH),
        {"training": rpn_pre_nms_top_n_train, "testing": rpn_pre_nms_top_n_test},
        {"training": rpn_post_nms_top_n_train, "testing": rpn_post_nms_top_n_test},
        rpn_nms_thresh,
    )
    detector = Detector(
        channels,
        num_classes,
        head_channels=head_channels,
        dropout=dropout,
        svd_ranks=svd_ranks,
        score_thresh=box_score_thresh,
        nms_thresh=box_nms_thresh,
        detections_per_img=box_detections_per_img,
    )
    resize = GeneralizedRCNNTransform(min_size, max_size, list(IMAGENET_MEAN), list(IMAGENET_STD))
    return ClassicFasterRCNN(new_trunk, rpn, detector, resize)
