"""
A trunk's first weights where none trained on ImageNet can be had: it learns to name what is in the middle of a window.

The windows are cut from the very images that the systems are trained on, so nothing but their labels is used. Their
sides run from the object's own to twice the network's, so that objects are met at the size they have in the image
(SPPnet, Fast and Faster R-CNN) as well as filling the square (R-CNN).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.classic.descent import descend
from model.classic.detector import MEAN_RGB, normalised
from model.classic.trunks import Trunk
from model.classic.warp import warp
from model.datasets import Sample

BATCH, BACKGROUND_SHARE = 128, 0.25
_JITTER = 0.1  # of the object's shorter side


def pretrain(
    trunk: Trunk,
    samples: Sequence[Sample],
    class_count: int,
    *,
    side_px: int,
    steps: int,
    learning_rate: float,
    seed: int,
) -> list[float]:
    """Train trunk under a linear classifier of its mean feature, which is thrown away; the losses by step."""
    rng = np.random.default_rng(seed)
    classifier = nn.Linear(trunk.out_channels, class_count + 1).to(next(trunk.parameters()).device)
    trunk.train()

    def loss() -> Tensor:
        squares, classes = windows(samples, side_px, rng)
        feature = trunk(normalised(squares, classifier.weight.device))["0"]
        target = torch.from_numpy(classes).to(classifier.weight.device)
        return functional.cross_entropy(classifier(feature.mean(dim=(2, 3))), target)

    return descend([*trunk.parameters(), *classifier.parameters()], loss, steps, learning_rate)


def windows(
    samples: Sequence[Sample], side_px: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Squares (128, side_px, side_px, 3) and the class (128,) of what is in the middle of each, 0 if nothing is."""
    squares: list[NDArray[np.uint8]] = []
    classes: list[int] = []
    while len(squares) < BATCH:
        sample = samples[int(rng.integers(len(samples)))]
        if rng.random() < BACKGROUND_SHARE:
            box, label = _around_nothing(sample, side_px, rng), 0
        else:
            box, label = _around_an_object(sample, side_px, rng)
        if box is None:
            continue
        squares.append(warp(sample.image, box[None], MEAN_RGB, side_px=side_px, context_px=0)[0])
        classes.append(label)
    flipped = [square[:, ::-1] if rng.random() < 0.5 else square for square in squares]
    return np.stack(flipped), np.array(classes, np.int64)


def _around_an_object(sample: Sample, side_px: int, rng: np.random.Generator) -> tuple[NDArray[np.float32] | None, int]:
    """Every class alike in how often it is drawn from an image that holds it."""
    if not len(sample.labels):
        return None, 0
    label = rng.choice(np.unique(sample.labels))
    box = sample.boxes_xyxy[rng.choice(np.flatnonzero(sample.labels == label))]
    sides = box[2:] - box[:2]
    middle = (box[:2] + box[2:]) / 2 + rng.uniform(-_JITTER, _JITTER, 2) * sides.min()
    return _square(middle, _drawn_side(float(sides.max()), side_px, rng)), int(label)


def _around_nothing(sample: Sample, side_px: int, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """None where the point drawn lies in an object."""
    middle = rng.uniform(0, 1, 2) * np.array(sample.image.shape[1::-1])
    boxes = sample.boxes_xyxy
    if ((boxes[:, :2] < middle) & (middle < boxes[:, 2:])).all(axis=1).any():
        return None
    return _square(middle, _drawn_side(side_px / 4, side_px, rng))


def _drawn_side(least_px: float, side_px: int, rng: np.random.Generator) -> float:
    """Evenly on a logarithmic scale from least_px to twice side_px, or to least_px where that is more."""
    return math.exp(rng.uniform(math.log(least_px), math.log(max(2 * side_px, least_px))))


def _square(middle_xy: NDArray[np.float64], side: float) -> NDArray[np.float32]:
    return np.concatenate([middle_xy - side / 2, middle_xy + side / 2]).astype(np.float32)
