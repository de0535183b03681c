"""How many objects are found by any of the first n proposals: against IoU, and against n (Hosang et al. 2015)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.operating_point import iou

IOU_THRESHOLDS = np.linspace(0.5, 1.0, 51)
COUNTS = (1, 3, 10, 30, 100, 300, 1000, 2000)


@dataclass(frozen=True)
class Recall:
    """Of one method over one split; D objects in all."""

    method: str
    best_iou: NDArray[np.float64]  # (len(COUNTS), D): with the first COUNTS[i] proposals of the object's image
    proposals_per_image: float  # mean, before any cut

    def against_iou(self, count: int) -> NDArray[np.float64]:
        """Recall at each of IOU_THRESHOLDS with the first count (of COUNTS) proposals."""
        best = self.best_iou[COUNTS.index(count)]
        return np.asarray((best[None] >= IOU_THRESHOLDS[:, None] - 1e-9).mean(axis=1))

    def against_count(self, iou_threshold: float) -> NDArray[np.float64]:
        """Recall with the first n proposals for each n of COUNTS."""
        return np.asarray((self.best_iou >= iou_threshold).mean(axis=1))

    @property
    def average(self) -> float:
        """Mean recall over IoU 0.5 to 1 with the most proposals: twice the area under the curve (AR)."""
        return float(np.mean(2 * np.maximum(self.best_iou[-1] - 0.5, 0)))


def measure_recall(
    method: str, truths_xyxy: Sequence[NDArray[np.float32]], proposals_xyxy: Sequence[NDArray[np.float32]]
) -> Recall:
    """Image by image, boxes (D, 4) of objects and (N, 4) of proposals. Raises ValueError if there is no object."""
    best = [_best(truths, boxes) for truths, boxes in zip(truths_xyxy, proposals_xyxy, strict=True)]
    joined = np.concatenate([np.zeros((len(COUNTS), 0)), *best], axis=1)
    if not joined.shape[1]:
        raise ValueError("no object in any image: recall is undefined")
    return Recall(method, joined, float(np.mean([len(boxes) for boxes in proposals_xyxy])))


def _best(truths_xyxy: NDArray[np.float32], boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    if not len(boxes_xyxy):
        return np.zeros((len(COUNTS), len(truths_xyxy)))
    growing = np.maximum.accumulate(iou(truths_xyxy, boxes_xyxy), axis=1)
    last = np.minimum(np.array(COUNTS), len(boxes_xyxy)) - 1
    return growing[:, last].T.astype(np.float64)
