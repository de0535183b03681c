"""What the four systems are trained on and with: the same images, regions and clock for all."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.datasets import Sample


@dataclass
class Stopwatch:
    """Seconds of each stage of training, by name in order: on the clock, and of the processor for this process."""

    wall_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block; a name met again adds up."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s[name] = self.wall_s.get(name, 0.0) + time.perf_counter() - wall
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - cpu


@dataclass(frozen=True)
class Assignment:
    """One training run of one system; samples are of the size the network sees."""

    samples: Sequence[Sample]
    proposals_xyxy: Sequence[NDArray[np.float32]]  # (N, 4) pixels for each sample, likeliest first
    class_count: int  # without background
    pretrained: Mapping[str, Tensor]  # the trunk's weights to begin with
    steps: int  # of every stage of stochastic gradient descent
    learning_rate: float  # the highest of such a stage
    folder: Path  # for what is kept between stages
    device: torch.device
    stopwatch: Stopwatch
    seed: int = 0
