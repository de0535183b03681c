"""COCO's average precision, by pycocotools; and the same figure for any weighting of the images, quickly."""

import contextlib
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from model.datasets import CocoSplit

KINDS = {"box": "bbox", "mask": "segm"}
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_ROUNDING = 1e-9  # a recall reached exactly must not be missed by the last bit
_SIZES = ("small", "medium", "large")  # below 32 and 96 pixels squared, COCO's own


def judge(data: CocoSplit, rows: list[dict[str, Any]], kind: str, most: int) -> Any:
    """pycocotools' COCOeval of rows (COCO results), evaluated and accumulated with up to `most` detections an image."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        truth.dataset = data.document()
        truth.createIndex()
        found = truth.loadRes(_of_kind(rows, kind)) if rows else COCO()
        judged = COCOeval(truth, found, KINDS[kind])
        judged.params.maxDets = [1, 10, most]
        judged.evaluate()
        judged.accumulate()
    return judged


def _of_kind(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """pycocotools takes the area from the box if a row has one: mask rows must not, or thin ones count as large."""
    return rows if kind == "box" else [{k: v for k, v in row.items() if k != "bbox"} for row in rows]


def figures(judged: Any, labels: tuple[str, ...]) -> dict[str, Any]:
    """AP, AP50, AP75, AR, by size and by class; None where there is no truth to judge by."""
    precision = judged.eval["precision"]  # (IoU thresholds, recalls, classes, areas, maxDets), -1 where undefined
    recall = judged.eval["recall"]  # (IoU thresholds, classes, areas, maxDets)
    return {
        "AP": _mean(precision[..., 0, -1]),
        "AP50": _mean(precision[0, ..., 0, -1]),
        "AP75": _mean(precision[5, ..., 0, -1]),
        "by_size": {size: _mean(precision[..., area, -1]) for area, size in enumerate(_SIZES, start=1)},
        "by_class": {
            label: {
                "AP": _mean(precision[:, :, index, 0, -1]),
                "AP50": _mean(precision[0, :, index, 0, -1]),
                "AP75": _mean(precision[5, :, index, 0, -1]),
                "AR": _mean(recall[:, index, 0, -1]),
            }
            for index, label in enumerate(labels)
        },
        "AR": _mean(recall[..., 0, -1]),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    defined = values[values > -1]
    return round(float(defined.mean()), 4) if defined.size else None


@dataclass(frozen=True)
class Matches:
    """All detections of one class over N images, best score first, matched by pycocotools at every IoU threshold."""

    scores: NDArray[np.float64]  # (D,) descending
    image_index: NDArray[np.int64]  # (D,)
    matched: NDArray[np.bool_]  # (10, D)
    counted: NDArray[np.bool_]  # (10, D) False: on a crowd region, neither right nor wrong
    truths: NDArray[np.int64]  # (N,) objects that are to be found in each image

    def average_precision(self, image_weights: NDArray[np.float64]) -> float:
        """
        AP over IoU 0.5 to 0.95 as if image i occurred image_weights[i] times; NaN if no truth is left.

        The interpolation at 101 recalls is pycocotools'; with all weights 1 so is the result.
        """
        positives = float(self.truths @ image_weights)
        if positives == 0:
            return float("nan")
        weights = image_weights[self.image_index]
        seen = np.cumsum(weights) if self._all_counted else None
        total = 0.0
        for hits, counted in zip(self._hits, self.counted, strict=True):
            given = np.cumsum(weights * counted) if seen is None else seen
            right = np.cumsum(weights[hits])
            precision = right / np.maximum(given[hits], np.spacing(1))
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            places = np.searchsorted(right, _RECALLS * positives - _ROUNDING, side="left")
            total += float(envelope[places[places < len(envelope)]].sum())
        return total / (len(self.matched) * len(_RECALLS))

    @cached_property
    def _all_counted(self) -> bool:
        return bool(self.counted.all())

    @cached_property
    def _hits(self) -> list[NDArray[np.int64]]:
        """Where precision peaks and recall rises: the matched detections at each IoU, the only ones a curve needs."""
        return [np.flatnonzero(row) for row in self.matched & self.counted]


def matches_by_class(judged: Any) -> list[Matches]:
    """One Matches for each category in order, all sizes, from an evaluated COCOeval."""
    images, categories = len(judged.params.imgIds), len(judged.params.catIds)
    areas = len(judged.params.areaRng)
    found = []
    for category in range(categories):
        start = category * areas * images  # evalImgs runs over categories, then areas, then images
        found.append(_matches(judged.evalImgs[start : start + images]))
    return found


def _matches(by_image: list[dict[str, Any] | None]) -> Matches:
    rows = [(index, row) for index, row in enumerate(by_image) if row is not None]
    truths = np.zeros(len(by_image), np.int64)
    for index, row in rows:
        truths[index] = int(np.sum(np.asarray(row["gtIgnore"]) == 0))
    scores = np.concatenate([np.zeros(0), *(row["dtScores"] for _, row in rows)])
    order = np.argsort(-scores, kind="mergesort")
    image_index = np.concatenate([np.zeros(0, np.int64), *(np.full(len(row["dtScores"]), i) for i, row in rows)])
    empty = np.zeros((len(IOU_THRESHOLDS), 0), bool)
    matched = np.concatenate([empty, *(np.asarray(row["dtMatches"]) > 0 for _, row in rows)], axis=1)
    ignored = np.concatenate([empty, *(np.asarray(row["dtIgnore"]) > 0 for _, row in rows)], axis=1)
    return Matches(scores[order], image_index[order], matched[:, order], ~ignored[:, order], truths)
