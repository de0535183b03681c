"""Candidates of one image -> what is kept: calibration, threshold, class filter, NMS, top-k."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.detections import NmsOptions
from service.postprocess.confidence import calibrated

_PADDING = float(np.finfo(np.float32).tiny)  # what scores less has score 0, and that is padding
_APART_PX = 2.0**24  # classes so far apart never overlap; in double precision that costs a millionth of a pixel
_LEAST_SOFT_SCORE = 1e-6  # what Soft-NMS has brought below this is gone, whatever the threshold


@dataclass(frozen=True)
class Picked:
    """What NMS kept of one image, best first."""

    boxes_xyxy: NDArray[np.float32]  # (D, 4) canvas pixels
    scores: NDArray[np.float32]  # (D,)
    label_ids: NDArray[np.int64]  # (D,)


def pick(
    boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32], label_ids: NDArray[np.int64], options: NmsOptions
) -> Picked:
    """boxes (K, 4), scores (K,), label_ids (K,) -> the detections of one image under options."""
    # 0. Before everything: a threshold, and a choice between classes, is about the scores the caller will see.
    raw = scores
    if options.calibration is not None:
        scores = calibrated(scores, label_ids, options.calibration)
    # 1. What scores too little or is not asked for goes first: it makes NMS cheap.
    wanted = scores >= least_scores(label_ids, options)
    if options.label_ids is not None:
        wanted &= np.isin(label_ids, list(options.label_ids))
    # 2. Best first. The stable sort makes ties fall the same way every time; those of calibration fall as they were.
    order = np.flatnonzero(wanted)
    if options.calibration is None:
        order = order[np.argsort(-scores[order], kind="stable")]
    else:
        order = order[np.lexsort((-raw[order], -scores[order]))]
    boxes, scores, labels = boxes_xyxy[order], scores[order], label_ids[order]
    # 3. Suppress within each class.
    if options.method == "hard":
        kept = _hard(boxes, labels, options)
    else:
        overlap = _iou(boxes)
        if not options.class_agnostic:
            overlap *= labels[:, None] == labels[None]
        floors = np.maximum(least_scores(labels, options), np.full(labels.shape, _LEAST_SOFT_SCORE, np.float32))
        scores = _soft(overlap, scores, options, float(floors.min(initial=1)))
        kept = np.flatnonzero(scores >= floors)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
    # 4. No more than asked for.
    kept = kept[: options.max_detections]
    return Picked(boxes[kept], scores[kept], labels[kept])


def least_scores(label_ids: NDArray[np.int64], options: NmsOptions) -> NDArray[np.float32] | float:
    """
    The score each candidate has to reach, above 0 always: (K,), its class's own threshold or else the common one; one
    number where no class has its own.
    """
    common = max(options.score_threshold, _PADDING)
    if not options.label_score_thresholds:
        return common
    least = np.full(label_ids.shape, common, np.float32)
    for label_id, threshold in options.label_score_thresholds.items():
        least[label_ids == label_id] = max(threshold, _PADDING)
    return least


def _iou(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every pair: (D, 4) -> (D, D), 0 where both are empty."""
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = area[:, None] + area[None] - intersection
    overlap: NDArray[np.float32] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return overlap


def _hard(boxes: NDArray[np.float32], labels: NDArray[np.int64], options: NmsOptions) -> NDArray[np.intp]:
    """Greedy NMS over boxes (D, 4) sorted by score: the indices that survive, in order."""
    if not len(boxes):
        return np.zeros(0, np.intp)
    sides = boxes[:, 2:] - boxes[:, :2]
    corners_and_sides = np.concatenate([boxes[:, :2], sides], 1, dtype=np.float64)
    if not options.class_agnostic:
        corners_and_sides[:, 0] += labels * _APART_PX
    # OpenCV compares each box with those kept only, in C: no matrix of all pairs, and no lock held for milliseconds.
    falling = np.arange(len(boxes), 0, -1, dtype=np.float32)  # they are in order: every score is told as if distinct
    kept = cv2.dnn.NMSBoxes(corners_and_sides, falling, 0.0, options.iou_threshold)  # type: ignore[arg-type]
    return np.asarray(kept, np.intp)


def _soft(
    overlap: NDArray[np.float32], scores: NDArray[np.float32], options: NmsOptions, enough: float
) -> NDArray[np.float32]:
    """
    Soft-NMS (Bodla 2017): the best box left lowers the scores of those it overlaps, instead of removing them.

    Linear: s (1 - iou) where iou >= the threshold (equation 2). Gaussian: s exp(-iou^2 / sigma) (equation 3).
    Scores under enough, the least anybody asks for, are not worked out further.
    """
    scores = scores.copy()
    left = np.ones(len(scores), bool)
    for _ in range(len(scores)):
        best = int(np.argmax(np.where(left, scores, -1)))
        left[best] = False
        if scores[best] < enough:  # so does all that is left
            break
        if options.method == "soft_linear":
            decay = np.where(overlap[best] >= options.iou_threshold, 1 - overlap[best], 1)
        else:
            decay = np.exp(-(overlap[best] ** 2) / options.soft_nms_sigma)
        scores[left] *= decay[left]
    return scores
