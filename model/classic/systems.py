"""The four systems side by side: how each is built, trained and asked, with the same trunk and images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.classic.assignment import Assignment
from model.classic.descent import descend
from model.classic.detector import Detect, Found, normalised
from model.classic.faster_rcnn import ClassicFasterRCNN, build_faster_rcnn
from model.classic.rcnn import Rcnn, train_rcnn
from model.classic.region_head import Detector as RegionHead
from model.classic.sppnet import SppNet, train_sppnet
from model.classic.steps import FOUR_STEPS
from model.classic.svm_detector import SvmDetector
from model.classic.trunks import Trunk, TrunkName, build_trunk
from model.datasets import Sample

_IMAGES_A_STEP = 2


@dataclass(frozen=True)
class Shape:
    """What the networks of all four have in common, and how large they are."""

    trunk: TrunkName
    width: float
    batch_norm: bool
    hidden: int  # outputs of fc6 and fc7
    square_px: int  # side of R-CNN's warped regions
    anchor_sides_px: tuple[float, ...]
    image_hw: tuple[int, int]  # the smallest that holds every image, as resized

    def make_trunk(self) -> Trunk:
        """A new, untrained one."""
        return build_trunk(self.trunk, width=self.width, batch_norm=self.batch_norm)


@dataclass(frozen=True)
class System:
    """One of the four; train returns the bytes that features take on disk."""

    name: str
    takes_proposals: bool
    build: Callable[[Shape, int], nn.Module]  # shape, classes without background
    train: Callable[[Any, Assignment], int]
    as_detector: Callable[[Any], Detect]


def _build_rcnn(shape: Shape, class_count: int) -> nn.Module:
    return Rcnn(shape.make_trunk(), class_count, side_px=shape.square_px, hidden=shape.hidden)


def _build_sppnet(shape: Shape, class_count: int) -> nn.Module:
    return SppNet(shape.make_trunk(), class_count, hidden=shape.hidden)


class FastRcnn(nn.Module):
    """A trunk and the paper's head over regions that are given: what Faster R-CNN is without its RPN."""

    def __init__(self, trunk: Trunk, class_count: int, hidden: int) -> None:
        super().__init__()
        self.backbone = trunk
        self.roi_heads = RegionHead(trunk.out_channels, class_count + 1, head_channels=hidden)

    def forward(
        self,
        images: Sequence[NDArray[np.uint8]],
        proposals: list[Tensor],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Images (H, W, 3) of one size and their regions -> detections an image; in training the losses by name."""
        features = self.backbone(normalised(np.stack(images), proposals[0].device))
        answer: tuple[list[dict[str, Tensor]], dict[str, Tensor]] = self.roi_heads(
            features, proposals, [image.shape[:2] for image in images], targets
        )
        return answer


def _build_fast(shape: Shape, class_count: int) -> nn.Module:
    return FastRcnn(shape.make_trunk(), class_count, shape.hidden)


def train_fast(model: FastRcnn, assignment: Assignment) -> int:
    """One stage: the trunk, classes and boxes at once, on 64 regions of each of two images; nothing on disk."""
    model.backbone.load_state_dict(assignment.pretrained)
    model.train()
    device = assignment.device

    def loss(chosen: Sequence[int]) -> Tensor:
        samples = [assignment.samples[index] for index in chosen]
        regions = [torch.from_numpy(assignment.proposals_xyxy[index]).to(device) for index in chosen]
        _, parts = model([sample.image for sample in samples], regions, [_target(sample, device) for sample in samples])
        return torch.stack(list(parts.values())).sum()

    with assignment.stopwatch.stage("fine-tuning"):
        descend(model.parameters(), _on_two_images(loss, assignment), assignment.steps, assignment.learning_rate)
    return 0


def _build_faster(shape: Shape, class_count: int) -> nn.Module:
    return build_faster_rcnn(
        class_count + 1,
        trunk=shape.trunk,
        width=shape.width,
        batch_norm=shape.batch_norm,
        anchor_sides_px=shape.anchor_sides_px,
        head_channels=shape.hidden,
        min_size=min(shape.image_hw),
        max_size=max(shape.image_hw),
    )


def train_faster(model: ClassicFasterRCNN, assignment: Assignment) -> int:
    """The paper's four steps, each of assignment.steps; steps 1 and 2 begin with the pretrained trunk."""
    proposed: list[Tensor] = []

    def loss(chosen: Sequence[int]) -> Tensor:
        samples = [assignment.samples[index] for index in chosen]
        images = [_pixels(sample.image, assignment.device) for sample in samples]
        targets = [_target(sample, assignment.device) for sample in samples]
        parts: dict[str, Tensor] = model(images, targets, [proposed[index] for index in chosen] if proposed else None)
        return torch.stack(list(parts.values())).sum()

    for step in FOUR_STEPS:
        with assignment.stopwatch.stage(step):
            model.begin(step)
            if step in ("rpn", "detector"):
                model.backbone.load_state_dict(assignment.pretrained)
            model.train()
            proposed = _proposed(model, assignment) if step in ("detector", "detector_shared") else []
            learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
            descend(learning, _on_two_images(loss, assignment), assignment.steps, assignment.learning_rate)
    return 0


def _proposed(model: ClassicFasterRCNN, assignment: Assignment) -> list[Tensor]:
    """The regions of every image, made once: the RPN does not change while the detector learns from it."""
    return [model.propose([_pixels(sample.image, assignment.device)])[0] for sample in assignment.samples]


def _on_two_images(loss: Callable[[Sequence[int]], Tensor], assignment: Assignment) -> Callable[[], Tensor]:
    """loss of the indices of two images of the same size, drawn at random from those with objects."""
    rng = np.random.default_rng(assignment.seed)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, sample in enumerate(assignment.samples):
        if len(sample.labels):
            by_shape.setdefault(sample.image.shape, []).append(index)
    groups = list(by_shape.values())
    share = np.array([len(group) for group in groups]) / sum(len(group) for group in groups)
    return lambda: loss(rng.choice(groups[rng.choice(len(groups), p=share)], _IMAGES_A_STEP).tolist())


def _pixels(image_rgb: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image_rgb)).to(device).permute(2, 0, 1).float() / 255.0


def _target(sample: Sample, device: torch.device) -> dict[str, Tensor]:
    boxes, labels = torch.from_numpy(sample.boxes_xyxy), torch.from_numpy(sample.labels)
    return {"boxes": boxes.to(device), "labels": labels.to(device)}


def _ask_faster(model: ClassicFasterRCNN) -> Detect:
    @torch.inference_mode()
    def detect(image_rgb: NDArray[np.uint8], proposals_xyxy: NDArray[np.float32] | None = None) -> Found:
        """Finds its own regions: proposals are not looked at."""
        model.eval()
        (answer,) = model([_pixels(image_rgb, next(model.parameters()).device)])
        return _found(answer)

    return detect


def _ask_fast(model: FastRcnn) -> Detect:
    @torch.inference_mode()
    def detect(image_rgb: NDArray[np.uint8], proposals_xyxy: NDArray[np.float32] | None = None) -> Found:
        """Raises ValueError without proposals."""
        if proposals_xyxy is None:
            raise ValueError("Fast R-CNN needs proposals: it finds no regions itself")
        model.eval()
        regions = torch.from_numpy(proposals_xyxy).to(next(model.parameters()).device)
        return _found(model([image_rgb], [regions])[0][0])

    return detect


def _found(answer: dict[str, Tensor]) -> Found:
    return Found(*(answer[name].cpu().numpy() for name in ("boxes", "scores", "labels")))


def _ask_svm(model: SvmDetector) -> Detect:
    return model.detect


SYSTEMS: Sequence[System] = (
    System("R-CNN", True, _build_rcnn, train_rcnn, _ask_svm),
    System("SPPnet", True, _build_sppnet, train_sppnet, _ask_svm),
    System("Fast R-CNN", True, _build_fast, train_fast, _ask_fast),
    System("Faster R-CNN", False, _build_faster, train_faster, _ask_faster),
)
