"""What the network is shown: one random view of every image an epoch."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model import augment
from model.datasets import Sample
from model.recipes import Recipe, Stage

Target = dict[str, Tensor]
View = tuple[Tensor, Target]
Batch = tuple[list[Tensor], list[Target]]


class EpochViews(Dataset[View]):
    """
    The views of one epoch, in its own order: (3, H, W) float32 in [0, 1] and torchvision's detection target.

    View i is drawn from (seed, stage, epoch, i) alone: the same whoever makes it, in whatever order.
    """

    def __init__(self, samples: Sequence[Sample], stage: Stage, key: tuple[int, int, int]) -> None:
        self._samples, self._stage, self._key = samples, stage, key
        self._order = np.random.default_rng(key).permutation(len(samples))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> View:
        rng = np.random.default_rng((*self._key, index))
        view = _composed(self._samples, int(self._order[index]), self._stage, rng)
        return _to_tensor(view.image), _to_target(view)


def batches(samples: Sequence[Sample], recipe: Recipe, stage_index: int, epoch: int, workers: int) -> Iterable[Batch]:
    """Whole batches of one epoch, made by `workers` processes ahead of time (0: in this one); the same either way."""
    views = EpochViews(samples, recipe.stages[stage_index], (recipe.seed, stage_index, epoch))
    context = "fork" if workers else None  # samples in memory are shared, not copied
    return DataLoader(
        views,
        recipe.batch,
        drop_last=True,
        num_workers=workers,
        multiprocessing_context=context,
        collate_fn=_collate,
    )


def _collate(views: Sequence[View]) -> Batch:
    return [image for image, _ in views], [target for _, target in views]


def _composed(samples: Sequence[Sample], index: int, stage: Stage, rng: np.random.Generator) -> Sample:
    """A view of samples[index], with others beside it (mosaic) or their objects in it (copy-paste) now and then."""

    def another() -> Sample:
        return _framed(samples[int(rng.integers(len(samples)))], stage, rng)

    view = _framed(samples[index], stage, rng)
    if rng.random() < stage.mosaic:
        view = augment.mosaic([view, another(), another(), another()], rng)
    if view.instances is not None and rng.random() < stage.copy_paste:
        view = augment.copy_paste(view, another(), rng)
    view = augment.random_flip_and_turn(view, rng, quarter_turns=stage.view == "crop")
    view = augment.random_channel_gain(view, rng, probability=stage.channel_gain)
    return augment.random_light(view, rng, inversion=stage.inversion)


def _framed(sample: Sample, stage: Stage, rng: np.random.Generator) -> Sample:
    """Exactly stage.view_hw."""
    if stage.view == "crop":
        return augment.random_crop(sample, rng, stage.view_hw[0], stage.scale_range)
    return augment.random_resize(sample, rng, stage.view_hw, stage.scale_range)


def _to_tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


def _to_target(view: Sample) -> Target:
    target = {"boxes": torch.from_numpy(view.boxes_xyxy), "labels": torch.from_numpy(view.labels)}
    if view.instances is not None:
        numbers = np.arange(1, len(view.labels) + 1, dtype=np.uint16)
        target["masks"] = torch.from_numpy((view.instances[None] == numbers[:, None, None]).astype(np.uint8))
    return target
