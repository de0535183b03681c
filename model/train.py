"""
The training loop: stages of AdamW, an exponential moving average of the weights, one checkpoint an epoch.

Every random number of an epoch comes from (seed, stage, epoch), so a run resumed from its last checkpoint goes the same
way as one that was never interrupted: bit for bit on a CPU, whose kernels are deterministic.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from rich.progress import Progress
from torch.utils.tensorboard import SummaryWriter

from model import architectures
from model.datasets import CocoSplit
from model.learner import Learner
from model.recipes import Recipe
from model.views import batches


def train(recipe: Recipe, data: CocoSplit, out_dir: Path, device: torch.device, progress: Progress) -> Path:
    """Fit recipe to data, resuming from out_dir/last.pt if it is there; returns the path of the final checkpoint."""
    out_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    masks = architectures.ARCHITECTURES[recipe.architecture].task == "segmentation"
    samples = [data.load(image, masks=masks) for image in data.images]
    steps = len(samples) // recipe.batch
    learner = Learner(recipe, len(data.labels) + 1, device, half_precision=device.type == "cuda")
    epochs = [(stage, epoch) for stage, spec in enumerate(recipe.stages) for epoch in range(spec.epochs)]
    done = _resume(out_dir / "last.pt", learner, recipe, epochs, steps)
    task = progress.add_task("training", total=len(epochs) * steps, completed=done * steps)
    with SummaryWriter(str(out_dir / "tensorboard"), purge_step=done) as board:
        for number, (stage, epoch) in enumerate(epochs[done:], start=done + 1):
            if epoch == 0:
                learner.begin_stage(recipe.stages[stage], steps)
            torch.manual_seed(_seed_of(recipe.seed, stage, epoch))
            start, losses = time.monotonic(), []
            for images, targets in batches(samples, recipe, stage, epoch, workers=0):
                losses.append(learner.step(images, targets))
                progress.update(task, advance=1, description=f"epoch {number}/{len(epochs)}")
            mean = {name: float(np.mean([step[name] for step in losses])) for name in losses[0]}
            _save(out_dir / "last.pt", {"epochs_done": number, **learner.state_dict()})
            for name, value in mean.items():
                board.add_scalar(name, value, number)
            loss, seconds = sum(mean.values()), time.monotonic() - start
            progress.console.print(f"epoch {number}/{len(epochs)}: mean loss {loss:.4f}, {seconds:.1f} s")
    return _finish(out_dir / "model.pt", learner, recipe, data, device)


def _seed_of(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _save(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)  # a kill while writing leaves the last whole checkpoint


def _resume(path: Path, learner: Learner, recipe: Recipe, epochs: list[tuple[int, int]], steps: int) -> int:
    """Bring learner to where path was written; the number of epochs done by then."""
    if not path.is_file():
        return 0
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    done = int(checkpoint["epochs_done"])
    learner.begin_stage(recipe.stages[epochs[done - 1][0]], steps)
    learner.load_state_dict(checkpoint)
    return done


def _finish(path: Path, learner: Learner, recipe: Recipe, data: CocoSplit, device: torch.device) -> Path:
    torch.save(
        {
            "state_dict": learner.average.state_dict(),
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
