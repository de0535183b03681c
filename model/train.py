"""
The training loop: stages of AdamW, an exponential moving average of the weights, one checkpoint an epoch.

Every random number of an epoch comes from (seed, stage, epoch), so a run resumed from its last checkpoint goes the same
way as one that was never interrupted: bit for bit on a CPU, whose kernels are deterministic.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from rich.progress import Progress

from model.checkpoint import Checkpoint, save, write_checkpoint
from model.datasets import CocoSplit, Sample
from model.distillation import Teacher
from model.learner import Learner
from model.recipes import Recipe
from model.tracking import Tracker
from model.views import batches


class RunMismatch(ValueError):
    """The folder holds a checkpoint of another run; the message says what differs."""


@dataclass(frozen=True)
class Run:
    """What is to be trained, on what, and where it is kept; `start` is a state dict to begin with."""

    recipe: Recipe
    data: CocoSplit
    out_dir: Path
    device: torch.device
    half_precision: bool = False
    workers: int = 0
    start: dict[str, torch.Tensor] | None = None
    teacher: Teacher | None = None

    @property
    def epochs(self) -> list[tuple[int, int]]:
        """(stage, epoch within it) of the whole run."""
        return [(i, epoch) for i, stage in enumerate(self.recipe.stages) for epoch in range(stage.epochs)]

    @property
    def checkpoint_path(self) -> Path:
        return self.out_dir / "last.pt"

    def identity(self) -> dict[str, Any]:
        """What has to be equal for a checkpoint to be gone on with."""
        return {
            **json.loads(json.dumps(asdict(self.recipe))),
            "dataset fingerprint": self.data.fingerprint(),
            "half precision": self.half_precision,
            "teacher": self.teacher.identity() if self.teacher else None,
        }


def train(run: Run, samples: Sequence[Sample], tracker: Tracker, progress: Progress) -> Path:
    """Fit, going on from run.checkpoint_path if it is there; returns the path of the final checkpoint, model.pt."""
    torch.manual_seed(run.recipe.seed)
    learner = Learner(
        run.recipe, len(run.data.labels) + 1, run.device, half_precision=run.half_precision, teacher=run.teacher
    )
    if run.start is not None:
        learner.start_from(run.start)
    identity = run.identity()
    steps = len(samples) // run.recipe.batch
    done = _resume(run, learner, steps, identity)
    watch = _Watch(progress, len(run.epochs), done, steps)
    for number, (stage, epoch) in enumerate(run.epochs[done:], start=done + 1):
        if epoch == 0:
            learner.begin_stage(run.recipe.stages[stage], steps)
        torch.manual_seed(_seed_of(run.recipe.seed, stage, epoch))
        losses = []
        for images, targets in batches(samples, run.recipe, stage, epoch, run.workers):
            losses.append(learner.step(images, targets))
            watch.stepped(number, losses[-1])
        metrics = {f"loss/{name}": float(np.mean([step[name] for step in losses])) for name in losses[0]}
        # Before the checkpoint: a kill between the two repeats the epoch, instead of leaving it out of the curves.
        tracker.metrics({**metrics, "learning_rate": learner.learning_rate, "loss": sum(metrics.values())}, number)
        save(run.checkpoint_path, {"identity": identity, "epochs_done": number, **learner.state_dict()})
        watch.finished(number, sum(metrics.values()))
    return _finish(run, learner, identity)


class _Watch:
    """A bar on a terminal, a line an epoch anywhere: how far, how good, how long still."""

    def __init__(self, progress: Progress, epochs: int, done: int, steps: int) -> None:
        self._progress, self._epochs, self._done = progress, epochs, done
        self._task = progress.add_task("training", total=epochs * steps, completed=done * steps)
        self._start = time.monotonic()

    def stepped(self, number: int, losses: dict[str, float]) -> None:
        words = f"epoch {number}/{self._epochs} loss {sum(losses.values()):.3f}"
        self._progress.update(self._task, advance=1, description=words)

    def finished(self, number: int, loss: float) -> None:
        seconds = (time.monotonic() - self._start) / (number - self._done)
        left_min = seconds * (self._epochs - number) / 60
        words = (
            f"epoch {number}/{self._epochs}: mean loss {loss:.4f}, {seconds:.1f} s an epoch, {left_min:.1f} min left"
        )
        self._progress.console.print(words, soft_wrap=True, highlight=False)


def _seed_of(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def epochs_done(run: Run) -> int:
    """How many epochs the checkpoint in run's folder has behind it; 0 if there is none."""
    if not run.checkpoint_path.is_file():
        return 0
    return int(torch.load(run.checkpoint_path, map_location="meta", weights_only=True)["epochs_done"])


def _resume(run: Run, learner: Learner, steps: int, identity: dict[str, Any]) -> int:
    """Bring learner to where the checkpoint was written; the number of epochs done by then."""
    if not run.checkpoint_path.is_file():
        return 0
    checkpoint = torch.load(run.checkpoint_path, map_location="cpu", weights_only=True)
    there = checkpoint["identity"]
    differing = [name for name in identity if there.get(name) != identity[name]]
    if differing:
        name = differing[0]
        raise RunMismatch(
            f"{run.checkpoint_path} belongs to another run: {name} was {there.get(name)}, now it is {identity[name]}; "
            "give another --out, or delete that file to start anew"
        )
    done = int(checkpoint["epochs_done"])
    learner.begin_stage(run.recipe.stages[run.epochs[done - 1][0]], steps)
    learner.load_state_dict(checkpoint)
    return done


def _finish(run: Run, learner: Learner, identity: dict[str, Any]) -> Path:
    path, data = run.out_dir / "model.pt", run.data
    trained_with = {
        "torch": str(torch.__version__),
        "torchvision": torchvision.__version__,
        "device": run.device.type,
    }
    dataset = {"split": data.split, "images": len(data.images), "fingerprint": identity["dataset fingerprint"]}
    state = learner.average.state_dict()
    write_checkpoint(Checkpoint(run.recipe, data.labels, dataset, trained_with, state, identity["teacher"]), path)
    return path
