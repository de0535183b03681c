"""
The training loop: AdamW on a one-cycle schedule, an exponential moving average of the weights, one checkpoint an epoch.

Every random number of an epoch comes from (seed, epoch), so a run resumed from its last checkpoint goes the same way.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torchvision.models.detection import FasterRCNN

from model import architectures, augment
from model.datasets import CocoSplit, Sample
from model.recipes import Recipe

Target = dict[str, Tensor]


def train(recipe: Recipe, data: CocoSplit, out_dir: Path, device: torch.device, progress: Progress) -> Path:
    """Fit recipe to data, resuming from out_dir/last.pt if it is there; returns the path of the final checkpoint."""
    out_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    masks = architectures.ARCHITECTURES[recipe.architecture].task == "segmentation"
    samples = [data.load(image, masks=masks) for image in data.images]
    model = _build(recipe, len(data.labels) + 1).to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps_per_epoch = len(samples) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, epochs=recipe.epochs, steps_per_epoch=steps_per_epoch, pct_start=0.15
    )
    state = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first_epoch = _resume(out_dir / "last.pt", state, device)
    task = progress.add_task("training", total=recipe.epochs * steps_per_epoch, completed=first_epoch * steps_per_epoch)
    with SummaryWriter(str(out_dir / "tensorboard")) as board:
        for epoch in range(first_epoch, recipe.epochs):
            torch.manual_seed(recipe.seed * 1000 + epoch)
            losses: list[float] = []
            for images, targets in _batches(samples, recipe, epoch, device):
                loss = _step(model, images, targets, optimizer)
                schedule.step()
                _blend(average, model, recipe.ema_decay, schedule.last_epoch)
                losses.append(loss)
                progress.update(task, advance=1, description=f"epoch {epoch + 1}/{recipe.epochs} loss {loss:.3f}")
            board.add_scalar("loss", float(np.mean(losses)), epoch)
            progress.console.print(f"epoch {epoch + 1}/{recipe.epochs}: mean loss {np.mean(losses):.4f}")
            _save(out_dir / "last.pt", state, epoch + 1)
    return _finish(out_dir / "model.pt", average, recipe, data, device)


def _build(recipe: Recipe, num_classes: int) -> FasterRCNN:
    """The model with torchvision's own resizing made a no-op: views already have their final size."""
    short_px, long_px = min(recipe.view_hw), max(recipe.view_hw)
    return architectures.build(
        recipe.architecture, num_classes, min_size=short_px, max_size=long_px, **recipe.model_options
    )


def _step(model: nn.Module, images: list[Tensor], targets: list[Target], optimizer: torch.optim.Optimizer) -> float:
    model.train()
    loss: Tensor = sum(model(images, targets).values())
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss.item()}; lower the learning rate or check the annotations")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    return float(loss)


@torch.no_grad()
def _blend(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """average <- decay * average + (1 - decay) * model; the decay warms up so that the first weights are forgotten."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for kept, fresh in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(fresh, weight)
        else:
            kept.copy_(fresh)


def _batches(
    samples: list[Sample], recipe: Recipe, epoch: int, device: torch.device
) -> Iterator[tuple[list[Tensor], list[Target]]]:
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(len(samples))
    for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
        views = [_view(samples[index], recipe, rng) for index in order[start : start + recipe.batch]]
        yield [_to_tensor(view.image).to(device) for view in views], [_to_target(view, device) for view in views]


def _view(sample: Sample, recipe: Recipe, rng: np.random.Generator) -> Sample:
    if recipe.view == "crop":
        view = augment.random_crop(sample, rng, recipe.view_hw[0], recipe.scale_range)
    else:
        view = augment.random_resize(sample, rng, recipe.view_hw, recipe.scale_range[1] - 1)
    view = augment.random_flip_and_turn(view, rng, quarter_turns=recipe.view == "crop")
    return augment.random_light(view, rng, inversion=recipe.inversion)


def _to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


def _to_target(view: Sample, device: torch.device) -> Target:
    target = {"boxes": torch.from_numpy(view.boxes_xyxy), "labels": torch.from_numpy(view.labels)}
    if view.instances is not None:
        numbers = np.arange(1, len(view.labels) + 1, dtype=np.uint16)
        target["masks"] = torch.from_numpy((view.instances[None] == numbers[:, None, None]).astype(np.uint8))
    return {name: value.to(device) for name, value in target.items()}


def _save(path: Path, state: dict[str, Any], epoch: int) -> None:
    partial = path.with_suffix(".partial")
    torch.save({"epoch": epoch, **{name: part.state_dict() for name, part in state.items()}}, partial)
    partial.replace(path)  # a kill while writing leaves the last whole checkpoint


def _resume(path: Path, state: dict[str, Any], device: torch.device) -> int:
    if not path.is_file():
        return 0
    checkpoint = torch.load(path, map_location=device, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(checkpoint[name])
    return int(checkpoint["epoch"])


def _finish(path: Path, average: nn.Module, recipe: Recipe, data: CocoSplit, device: torch.device) -> Path:
    torch.save(
        {
            "state_dict": average.state_dict(),
            "recipe": asdict(recipe),
            "labels": list(data.labels),
            "dataset": {"split": data.split, "images": len(data.images), "fingerprint": data.fingerprint()},
            "trained_with": {
                "torch": str(torch.__version__),
                "torchvision": torchvision.__version__,
                "device": device.type,
            },
        },
        path,
    )
    return path
