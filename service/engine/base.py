"""What an engine is: the two graphs of a bundle behind two calls. One caller at a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.cache import EngineCache
from service.engine.precision import Precision


@dataclass(frozen=True)
class DetectorOutput:
    """Candidates before class-wise NMS. features stay in engine memory and are valid until the next detect()."""

    boxes_xyxy: NDArray[np.float32]  # (N, K, 4) canvas pixels, clipped to the valid size
    scores: NDArray[np.float32]  # (N, K) in [0, 1], padded with 0
    label_ids: NDArray[np.int64]  # (N, K)
    features: Any = None


@dataclass(frozen=True)
class EngineOptions:
    """How an engine may run, beside its threads."""

    precision: Precision = "auto"
    cache: EngineCache = field(default_factory=lambda: EngineCache(None))
    gpu_memory_bytes: int = 0
    """What ONNX Runtime's arena may take on the GPU; 0: all there is."""
    fault_file: Path | None = None
    """Where the fake engine reads which fault to have."""


# As ONNX Runtime, CUDA, OpenVINO and C++ put it.
_NO_MEMORY = re.compile(r"out of memory|failed to allocate memory|bad_alloc|alloc_failed", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine failed for want of memory: fewer images may pass where these did not."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


class Engine(Protocol):
    """Raises whatever its runtime raises; the batcher turns that into EngineFailed."""

    name: str
    precision: str
    compiles_by_shape: bool
    """Whether the first run of a new canvas takes seconds, so that every canvas is run once before the model serves."""

    def detect(
        self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64], proposals: NDArray[np.float32] | None = None
    ) -> DetectorOutput:
        """
        images (N, H, W, 3) RGB on their canvas, sizes_hw (N, 2) valid height and width.

        proposals (N, P, 4) canvas pixels, for a model that takes them and no other; boxes without area find nothing.
        """

    def masks(self, features: Any, rois: NDArray[np.float32], label_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """features of the last detect(), rois (R, 5) image index and canvas box, label_ids (R,) -> (R, 28, 28)."""

    def keypoints(self, features: Any, rois: NDArray[np.float32]) -> NDArray[np.float32]:
        """features of the last detect(), rois (R, 5) as for masks -> heatmaps (R, J, S, S), logits."""

    lane_count: int
    """How many callers side by side get more done than one with the whole engine; 0 where they do not."""

    def lanes(self) -> "Sequence[Engine]":
        """lane_count engines, each with its share of the threads. Loads them: that takes a moment, and memory."""

    def close(self) -> None:
        """Give memory back. Idempotent."""
