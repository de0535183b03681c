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
from model.classic.detector import Detect, Found
from model.classic.faster_rcnn import ClassicFasterRCNN, build_faster_rcnn
from model.classic.rcnn import Rcnn, train_rcnn
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
    for step in FOUR_STEPS:
        with assignment.stopwatch.stage(step):
            model.begin(step)
            if step in ("rpn", "detector"):
                model.backbone.load_state_dict(assignment.pretrained)
            model.train()
            learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
            descend(learning, _losses_of(model, assignment), assignment.steps, assignment.learning_rate)
    return 0


def _losses_of(model: nn.Module, assignment: Assignment) -> Callable[[], Tensor]:
    """Of two images drawn at random, those without objects left out, all parts summed."""
    rng = np.random.default_rng(assignment.seed)
    usable = [index for index, sample in enumerate(assignment.samples) if len(sample.labels)]

    def loss() -> Tensor:
        chosen = [assignment.samples[index] for index in rng.choice(usable, _IMAGES_A_STEP)]
        images = [_pixels(sample.image, assignment.device) for sample in chosen]
        parts: dict[str, Tensor] = model(images, [_target(sample, assignment.device) for sample in chosen])
        return torch.stack(list(parts.values())).sum()

    return loss


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
        return Found(*(answer[name].cpu().numpy() for name in ("boxes", "scores", "labels")))

    return detect


def _ask_svm(model: SvmDetector) -> Detect:
    return model.detect


SYSTEMS: Sequence[System] = (
    System("R-CNN", True, _build_rcnn, train_rcnn, _ask_svm),
    System("SPPnet", True, _build_sppnet, train_sppnet, _ask_svm),
    System("Faster R-CNN", False, _build_faster, train_faster, _ask_faster),
)
