"""A deterministic engine without a model: for measuring the service around it, and for tests."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engine.base import DetectorOutput, Engine

_HANG_POLL_S = 0.02


class FakeEngine:
    """
    One detection an image, computed from its own pixels alone; each batch takes delay_s, whatever its size.

    The box is the centre half of the valid area, the score 0.5 plus half the mean brightness, the label the first. Of a
    model that takes proposals, every one of them is found.
    """

    name = "fake"
    precision = "fp32"
    compiles_by_shape = False
    lane_count = 0

    def __init__(self, delay_s: float, fault_file: Path | None = None) -> None:
        """
        fault_file holds the fault to have from the next batch on, none while it is missing or empty: `raise`, `hang`
        (until the file changes), `memory N` (for more than N images), `abort` (the process ends as after a segfault).
        """
        self._delay_s, self._fault_file = delay_s, fault_file

    def detect(
        self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64], proposals: NDArray[np.float32] | None = None
    ) -> DetectorOutput:
        if self._fault_file is not None:
            self._fail(self._fault_file, len(images))
        time.sleep(self._delay_s)
        height, width = sizes_hw[:, 0], sizes_hw[:, 1]
        boxes = np.stack([width / 4, height / 4, width * 3 / 4, height * 3 / 4], 1).astype(np.float32)
        # Every seventh pixel is plenty to tell images apart and costs next to nothing.
        brightness = np.array([image[:h:7, :w:7].mean() for image, (h, w) in zip(images, sizes_hw, strict=True)])
        scores = (0.5 + brightness / 510).astype(np.float32)
        boxes = boxes[:, None] if proposals is None else proposals
        has_area = (boxes[..., 2:] > boxes[..., :2]).all(-1)
        return DetectorOutput(boxes, has_area * scores[:, None], np.ones(boxes.shape[:2], np.int64))

    def _fail(self, file: Path, images: int) -> None:
        match _words(file):
            case ["raise"]:
                raise RuntimeError("the fake engine was told to raise")
            case ["memory", most] if images > int(most):
                raise RuntimeError("CUDA failure 2: out of memory (the fake engine was told so)")
            case ["abort"]:
                os.abort()
            case ["hang"]:
                while _words(file) == ["hang"]:
                    time.sleep(_HANG_POLL_S)

    def masks(self, features: Any, rois: NDArray[np.float32], label_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """An ellipse in every box."""
        axis = np.linspace(-1, 1, 28, dtype=np.float32)
        ellipse = (axis[:, None] ** 2 + axis[None] ** 2 <= 1).astype(np.float32)
        return np.repeat(ellipse[None], len(rois), 0)

    def keypoints(self, features: Any, rois: NDArray[np.float32]) -> NDArray[np.float32]:
        """Two points: a third of the way from the box's top-left corner to the other, and two thirds."""
        at = np.arange(56, dtype=np.float32)
        cones = [5 - np.hypot(at[:, None] - peak, at[None] - peak) for peak in (18, 37)]
        return np.repeat(np.stack(cones)[None], len(rois), 0)

    def lanes(self) -> tuple[Engine, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """Nothing to give back."""


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []
