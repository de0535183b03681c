"""A detector being trained: the model, its running average, and the optimizer of the stage it is in."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torchvision.models.detection import FasterRCNN

from model import architectures
from model.classic.faster_rcnn import ClassicFasterRCNN
from model.classic.steps import Step
from model.distillation import Lesson, Teacher
from model.recipes import Recipe, Stage
from model.views import Target

_LONGEST_GRADIENT = 10.0
_RISE = 0.15  # the part of one cycle in which the learning rate rises


class Learner:
    """
    Trains recipe's architecture on device; `average` is the exponential moving average that is kept in the end. With a
    teacher it learns from that too. Raises TeacherUnfit if the teacher has another pyramid.

    With half precision all that is mostly convolution runs in bfloat16: trunk, RPN and mask head but for their last
    layers, and the teacher's trunk. Last layers and box heads stay in float32: box regression in half precision moves
    boxes by up to half a pixel at 512, which small objects feel.
    """

    def __init__(
        self,
        recipe: Recipe,
        num_classes: int,
        device: torch.device,
        *,
        half_precision: bool,
        teacher: Teacher | None = None,
    ) -> None:
        self._recipe, self._device = recipe, device
        built = architectures.build(recipe.architecture, num_classes, **recipe.model_options)
        self.model: FasterRCNN = built.to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model)
        self._lesson = Lesson(self.model, teacher, device) if teacher else None
        self._half_precision = half_precision
        if teacher and half_precision:
            run_in_bfloat16(teacher.model.backbone, device.type)
        self._start: dict[str, Tensor] = {}

    def start_from(self, state: dict[str, Tensor]) -> int:
        """Take over the weights of state whose name and shape fit, for fine-tuning; how many those were."""
        self._start = state
        return _take_over(self.average, state)

    def begin_stage(self, stage: Stage, steps_per_epoch: int) -> None:
        """Start from the averaged weights with a fresh optimizer; views of stage.view_hw pass the model unresized."""
        if isinstance(self.average, ClassicFasterRCNN):
            self._begin_step(stage.step)
        if self._half_precision:
            for part in _convolutions(self.model):
                run_in_bfloat16(part, self._device.type)
        self.model.load_state_dict(self.average.state_dict())
        transform = self.model.transform
        transform.min_size, transform.max_size = (min(stage.view_hw),), max(stage.view_hw)
        self._ema_decay = stage.ema_decay
        self._optimizer = torch.optim.AdamW(
            [parameter for parameter in self._learning() if parameter.requires_grad],
            stage.learning_rate,
            weight_decay=self._recipe.weight_decay,
        )
        self._schedule = make_schedule(self._optimizer, stage, steps_per_epoch)

    def _learning(self) -> list[nn.Parameter]:
        return [*self.model.parameters(), *(self._lesson.adapter.parameters() if self._lesson else ())]

    def _begin_step(self, step: Step) -> None:
        for network in (self.model, self.average):
            network.begin(step)
            network.to(memory_format=torch.channels_last)  # the parts that are new
        if step == "detector":  # its trunk starts where that of step 1 did
            trunk = {name: value for name, value in self._start.items() if name.startswith("backbone.")}
            _take_over(self.average, trunk)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self._schedule.get_last_lr()[0])

    def step(self, images: list[Tensor], targets: list[Target]) -> dict[str, float]:
        """One step on images (3, H, W) float32 in [0, 1]; losses by name. Raises FloatingPointError if not finite."""
        self.model.train()
        images = [image.to(self._device, non_blocking=True) for image in images]
        targets = [{name: value.to(self._device) for name, value in target.items()} for target in targets]
        losses: dict[str, Tensor] = self.model(images, targets)
        if self._lesson is not None:
            losses |= self._lesson.losses()
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss.item()}; lower the learning rate or check the annotations")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._learning(), _LONGEST_GRADIENT)
        self._optimizer.step()
        self._schedule.step()
        _blend(self.average, self.model, self._ema_decay, self._schedule.last_epoch)
        return {name: float(value.detach()) for name, value in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on, besides its views and the random seed."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Into a learner that has begun the same stage."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "average": self.average,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            **({"adapter": self._lesson.adapter} if self._lesson else {}),
        }


def _take_over(model: nn.Module, state: dict[str, Tensor]) -> int:
    own = model.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(own | fitting)
    return len(fitting)


def make_schedule(optimizer: torch.optim.Optimizer, stage: Stage, steps_per_epoch: int) -> LRScheduler:
    """The learning rate by step, as stage says."""
    steps = stage.epochs * steps_per_epoch
    if stage.schedule == "one_cycle":
        return OneCycleLR(optimizer, stage.learning_rate, total_steps=steps, pct_start=_RISE)
    return LambdaLR(
        optimizer, trapezoid(steps, stage.warmup_epochs * steps_per_epoch, stage.decay_epochs * steps_per_epoch)
    )


def trapezoid(steps: int, warmup_steps: float, decay_steps: float) -> Callable[[int], float]:
    """step -> part of the highest learning rate: up in warmup_steps, level, down over the last decay_steps."""

    def factor(step: int) -> float:
        rise = (step + 1) / warmup_steps if warmup_steps else math.inf
        fall = (steps - step) / decay_steps if decay_steps else math.inf
        return max(0.0, min(1.0, rise, fall))

    return factor


def _convolutions(model: FasterRCNN) -> list[nn.Module]:
    """What costs most in training and is not the last layer of anything. A classic model's heads stay as they are."""
    found = [model.backbone, getattr(getattr(model.rpn, "head", None), "conv", None)]
    return [part for part in (*found, getattr(model.roi_heads, "mask_head", None)) if part is not None]


def run_in_bfloat16(part: nn.Module, device_type: str) -> None:
    """Make part compute under autocast and give what it finds in float32, unless it does so already."""
    if "forward" in vars(part):
        return
    forward = part.forward

    def autocast_forward(features: Tensor) -> Tensor | dict[str, Tensor]:
        with torch.autocast(device_type, torch.bfloat16):
            found: Tensor | dict[str, Tensor] = forward(features)
        return {name: value.float() for name, value in found.items()} if isinstance(found, dict) else found.float()

    part.forward = autocast_forward


@torch.no_grad()
def _blend(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """average <- decay * average + (1 - decay) * model; the decay warms up so that the first weights are forgotten."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for kept, fresh in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(fresh, weight)
        else:
            kept.copy_(fresh)
