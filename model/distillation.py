"""
What a student is asked besides the labels: to answer as its teacher does.

Three losses are added to the detector's own, after Chen et al. 2017, *Learning Efficient Object Detection Models with
Knowledge Distillation*, on the regions the student itself samples:
- logits: cross-entropy with the teacher's class probabilities, background weighted 1.5 (their equation 3);
- boxes: squared distance to the true box, but only where the student is further from it than the teacher (equation 4);
- features: squared distance of every pyramid level to the teacher's, through a learnt 1x1 convolution where the two
  differ in channels (FitNets, Romero et al. 2015), as a part of the teacher's mean square.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.roi_heads import RoIHeads

from model.architectures import ARCHITECTURES
from model.checkpoint import read_checkpoint, restored
from model.views import Target
from service.bundle import Task, read_bundle

_BACKGROUND_WEIGHT = 1.5


class TeacherUnfit(ValueError):
    """A teacher this student cannot learn from; the message says what differs."""


@dataclass(frozen=True)
class Shares:
    """How much each of the teacher's losses counts beside those of the labels."""

    logits: float = 1.0
    boxes: float = 0.5
    features: float = 1.0


@dataclass(frozen=True)
class Teacher:
    """A trained model in eval mode, and what it is: enough to refuse another one when a run goes on."""

    model: FasterRCNN
    architecture: str
    labels: tuple[str, ...]
    digest: str  # of a bundle, or of a checkpoint's weights
    shares: Shares

    @property
    def task(self) -> Task:
        return ARCHITECTURES[self.architecture].task

    def identity(self) -> dict[str, Any]:
        """For checkpoints and manifests."""
        return {"architecture": self.architecture, "digest": self.digest, "shares": asdict(self.shares)}


def read_teacher(path: Path, shares: Shares) -> Teacher:
    """A bundle's folder or a checkpoint of `rcnn train`. Raises CheckpointInvalid, or ServiceError if it is neither."""
    if path.is_dir():
        bundle = read_bundle(path)
        manifest = bundle.manifest
        return Teacher(restored(bundle), manifest.architecture, manifest.labels, bundle.digest, shares)
    checkpoint = read_checkpoint(path)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return Teacher(checkpoint.build(), checkpoint.recipe.architecture, checkpoint.labels, digest, shares)


def check_teacher(teacher: Teacher, architecture: str, labels: Sequence[str]) -> None:
    """Raises TeacherUnfit unless teacher has the task of architecture and finds just these classes, in this order."""
    task = ARCHITECTURES[architecture].task
    if teacher.task != task:
        raise TeacherUnfit(f"the teacher ({teacher.architecture}) is for {teacher.task}, {architecture} for {task}")
    if teacher.labels != tuple(labels):
        raise TeacherUnfit(
            f"the teacher finds {', '.join(teacher.labels)}, the dataset names {', '.join(labels)}; "
            "they have to be the same classes in the same order"
        )


class Lesson:
    """A student and its teacher. Call losses after each forward of the student in training."""

    def __init__(self, student: FasterRCNN, teacher: Teacher, device: torch.device) -> None:
        levels = _levels(student, "the student"), _levels(teacher.model, "the teacher")
        if levels[0] != levels[1]:
            raise TeacherUnfit(f"the teacher's pyramid has {levels[1]} levels, the student's {levels[0]}")
        self._teacher, self._shares = teacher.model.to(device).eval().requires_grad_(False), teacher.shares
        ours, theirs = student.backbone.out_channels, teacher.model.backbone.out_channels
        self.adapter: nn.Module = nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
        self.adapter.to(device)
        self._heads, self._seen = student.roi_heads, _Seen(student)

    def losses(self) -> dict[str, Tensor]:
        """Of the student's last batch."""
        seen, heads = self._seen, self._teacher.roi_heads
        with torch.no_grad():
            features = self._teacher.backbone(seen.pixels)
            pooled = heads.box_head(heads.box_roi_pool(features, seen.regions, seen.sizes_hw))
            logits, deltas = heads.box_predictor(pooled)
        labels, true_deltas = _truth(self._heads, seen)
        levels = [(self.adapter(seen.features[name]), features[name]) for name in features if name != "pool"]
        return {
            "teacher_logits": self._shares.logits * soft_cross_entropy(seen.logits, logits),
            "teacher_boxes": self._shares.boxes * bounded_distance(seen.deltas, deltas, true_deltas, labels),
            "teacher_features": self._shares.features * torch.stack([hint(*level) for level in levels]).mean(),
        }


def soft_cross_entropy(logits: Tensor, teachers: Tensor) -> Tensor:
    """logits (R, C) against teachers (R, C), less the teacher's own entropy: 0 where they agree."""
    wanted, weight = teachers.softmax(-1), torch.ones(logits.shape[-1], device=logits.device)
    weight[0] = _BACKGROUND_WEIGHT
    distance = wanted * (teachers.log_softmax(-1) - logits.log_softmax(-1))
    return (weight * distance).sum(-1).mean()


def bounded_distance(deltas: Tensor, teachers: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
    """
    deltas and teachers (R, 4 C), truth (R, 4), labels (R,) int64, 0 being background, which has no box.

    A mean over regions, 0 for each where the student is at least as near to the truth as the teacher.
    """
    rows = torch.where(labels > 0)[0]
    ours, theirs = (
        (values.view(len(labels), -1, 4)[rows, labels[rows]] - truth[rows]).square().sum(-1)
        for values in (deltas, teachers)
    )
    return (ours * (ours > theirs)).sum() / max(1, len(labels))


def hint(feature: Tensor, teachers: Tensor) -> Tensor:
    """One level (N, C, h, w) of each. Raises TeacherUnfit if they are of different strides."""
    if feature.shape != teachers.shape:
        raise TeacherUnfit(f"the teacher's pyramid is {tuple(teachers.shape)}, the student's {tuple(feature.shape)}")
    return F.mse_loss(feature, teachers) / teachers.square().mean().clamp(min=1e-6)


class _Seen:
    """What went through the student in its last forward, told by hooks: torchvision's own training step stays."""

    pixels: Tensor  # (N, 3, H, W) normalised
    features: dict[str, Tensor]
    targets: Sequence[Target]  # in pixels of the view the network saw
    regions: list[Tensor]  # (R, 4) an image
    sizes_hw: list[tuple[int, int]]
    logits: Tensor
    deltas: Tensor

    def __init__(self, student: FasterRCNN) -> None:
        heads = student.roi_heads
        student.backbone.register_forward_hook(self._pass_trunk)
        heads.register_forward_pre_hook(self._pass_targets)
        heads.box_roi_pool.register_forward_hook(self._pass_regions)
        heads.box_predictor.register_forward_hook(self._pass_answer)

    def _pass_trunk(self, trunk: nn.Module, given: tuple[Tensor], features: dict[str, Tensor]) -> None:
        self.pixels, self.features = given[0], features

    def _pass_targets(self, heads: nn.Module, given: tuple[Any, ...]) -> None:
        self.targets = given[3]

    def _pass_regions(self, pool: nn.Module, given: tuple[Any, ...], pooled: Tensor) -> None:
        self.regions, self.sizes_hw = given[1], given[2]

    def _pass_answer(self, predictor: nn.Module, given: tuple[Tensor], answer: tuple[Tensor, Tensor]) -> None:
        self.logits, self.deltas = answer


def _levels(model: FasterRCNN, whose: str) -> int:
    pyramid = getattr(model.backbone, "fpn", None)
    if pyramid is None:
        raise TeacherUnfit(f"{whose} has no feature pyramid to compare; classic models neither teach nor are taught")
    return len(pyramid.inner_blocks)


def _truth(heads: RoIHeads, seen: _Seen) -> tuple[Tensor, Tensor]:
    """Label (R,) and true box (R, 4), coded, of all sampled regions: each region's own, so sampling changes neither."""
    boxes = [target["boxes"] for target in seen.targets]
    index, labels = heads.assign_targets_to_proposals(
        seen.regions, boxes, [target["labels"] for target in seen.targets]
    )
    nowhere = seen.pixels.new_zeros(1, 4)
    matched = [(found if len(found) else nowhere)[rows] for found, rows in zip(boxes, index, strict=True)]
    return torch.cat(labels), torch.cat(heads.box_coder.encode(matched, seen.regions))
