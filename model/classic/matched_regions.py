"""Which region belongs to which object, and which regions a step of training is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.datasets import Sample
from model.operating_point import iou

POSITIVES, NEGATIVES = 32, 96  # of a batch of 128 (R-CNN, section 2.3)
POSITIVE_IOU = 0.5


@dataclass(frozen=True)
class MatchedRegions:
    """The regions of one image: its D objects first, then its proposals; R in all."""

    boxes_xyxy: NDArray[np.float32]  # (R, 4)
    class_iou: NDArray[np.float32]  # (R, K) greatest IoU with an object of each class, 0 where there is none
    nearest: NDArray[np.int64]  # (R, K) index of that object
    truths_xyxy: NDArray[np.float32]  # (D, 4)
    truth_labels: NDArray[np.int64]  # (D,) 1 is the first class

    @property
    def best_iou(self) -> NDArray[np.float32]:
        """(R,) with any object."""
        return np.asarray(self.class_iou.max(axis=1, initial=0))

    def classes(self, positive_iou: float = POSITIVE_IOU) -> NDArray[np.int64]:
        """(R,) the class of the object overlapped most if by positive_iou or more, else 0."""
        return np.where(self.best_iou >= positive_iou, self.class_iou.argmax(axis=1) + 1, 0)


def match_regions(sample: Sample, proposals_xyxy: NDArray[np.float32], class_count: int) -> MatchedRegions:
    """Regions of one image against its objects."""
    boxes = np.concatenate([sample.boxes_xyxy, proposals_xyxy]).astype(np.float32)
    overlaps = iou(boxes, sample.boxes_xyxy)
    class_iou = np.zeros((len(boxes), class_count), np.float32)
    nearest = np.zeros((len(boxes), class_count), np.int64)
    for index in range(class_count):
        members = np.flatnonzero(sample.labels == index + 1)
        if len(members):
            class_iou[:, index] = overlaps[:, members].max(axis=1)
            nearest[:, index] = members[overlaps[:, members].argmax(axis=1)]
    return MatchedRegions(boxes, class_iou, nearest, sample.boxes_xyxy, sample.labels)


class RegionSampler:
    """
    Batches over all images: 32 regions of IoU >= 0.5 with an object, over all classes, and 96 background regions.

    Background is what has an IoU of background_iou[0] or more and less than background_iou[1] with every object:
    [0, 0.5) for R-CNN, [0.1, 0.5) for SPPnet. Drawn evenly over all regions of all images, again if there are too few.
    """

    def __init__(self, regions: Sequence[MatchedRegions], background_iou: tuple[float, float], seed: int) -> None:
        low, high = background_iou
        image = np.concatenate([np.full(len(row.boxes_xyxy), number) for number, row in enumerate(regions)])
        region = np.concatenate([np.arange(len(row.boxes_xyxy)) for row in regions])
        best = np.concatenate([row.best_iou for row in regions])
        self._where = np.stack([image, region], axis=1)
        self._classes = np.concatenate([row.classes() for row in regions])
        self._positive = np.flatnonzero(best >= POSITIVE_IOU)
        self._background = np.flatnonzero((best >= low) & (best < high))
        self._rng = np.random.default_rng(seed)
        if not len(self._positive) or not len(self._background):
            raise ValueError(
                f"{len(self._positive)} regions of objects and {len(self._background)} of background: both are needed"
            )

    def batch(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(image, region) (128, 2) and classes (128,), 0 for background."""
        chosen = np.concatenate([self._draw(self._positive, POSITIVES), self._draw(self._background, NEGATIVES)])
        return self._where[chosen], self._classes[chosen]

    def _draw(self, among: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        return self._rng.choice(among, count, replace=len(among) < count)
