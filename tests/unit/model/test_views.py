"""The views of an epoch are the same whoever makes them, and others in the next."""

import dataclasses
from pathlib import Path

import pytest
import torch

from model.datasets import Samples, read_dataset
from model.recipes import Recipe, Stage
from model.views import Batch, batches
from tests.unit.model.pictures import draw_dataset

STAGE = Stage(
    epochs=2,
    learning_rate=1e-3,
    view="whole",
    view_hw=(64, 96),
    scale_range=(0.8, 1.2),
    mosaic=0.5,
    copy_paste=0.5,
    channel_gain=0.5,
    inversion=0.5,
)
RECIPE = Recipe(
    "toy", "maskrcnn_small_fpn", (STAGE, dataclasses.replace(STAGE, view="crop", view_hw=(64, 64))), batch=3
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    root = draw_dataset(tmp_path_factory.mktemp("data") / "shapes", {"train": 8})
    return Samples(read_dataset(root, "train", masks=True), masks=True)


def made(samples: Samples, stage: int, epoch: int, workers: int = 0) -> list[Batch]:
    return list(batches(samples, RECIPE, stage, epoch, workers))


def same(first: list[Batch], second: list[Batch]) -> bool:
    images = [torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x[0], y[0], strict=True)]
    targets = [
        torch.equal(a[name], b[name])
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x[1], y[1], strict=True)
        for name in a
        if a[name].shape == b[name].shape
    ]
    return all(images) and all(targets)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # of Python 3.12 on, about fork
def test_worker_processes_make_the_same_views(samples: Samples) -> None:
    """None, or two: a GPU run differs from a CPU run in nothing it is shown."""
    assert same(made(samples, 0, 1), made(samples, 0, 1, workers=2))


@pytest.mark.parametrize(("stage", "epoch"), [(0, 0), (0, 1), (1, 0)])
def test_views_have_the_stages_size_and_sound_targets(samples: Samples, stage: int, epoch: int) -> None:
    """Whole batches only; boxes within the view with some area; one mask a box."""
    found = made(samples, stage, epoch)
    assert len(found) == 2
    for images, targets in found:
        for image, target in zip(images, targets, strict=True):
            height, width = RECIPE.stages[stage].view_hw
            assert image.shape == (3, height, width) and 0 <= image.min() and image.max() <= 1
            boxes = target["boxes"]
            assert len(boxes) == len(target["labels"]) == len(target["masks"])
            assert (boxes[:, 2:] > boxes[:, :2]).all() and (boxes >= 0).all()
            assert (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()


def test_no_epoch_is_like_another(samples: Samples) -> None:
    """Neither in order nor in views."""
    assert not same(made(samples, 0, 0), made(samples, 0, 1))


def test_images_can_be_read_as_they_are_asked_for(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they do not fit into memory: the same samples."""
    monkeypatch.setattr("model.datasets._BYTES_IN_MEMORY", 0)
    root = draw_dataset(tmp_path / "shapes", {"train": 8})
    lazily = Samples(read_dataset(root, "train", masks=True), masks=True)
    assert same(made(samples, 0, 0), made(lazily, 0, 0))
