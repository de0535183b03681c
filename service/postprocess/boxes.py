"""Candidates of one image -> what is kept: threshold, class filter, NMS, top-k."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.detections import NmsOptions

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
    # 1. What scores too little or is not asked for goes first: it makes NMS cheap. Score 0 is padding.
    least = least_scores(label_ids, options)
    wanted = (scores >= least) & (scores > 0)
    if options.label_ids is not None:
        wanted &= np.isin(label_ids, list(options.label_ids))
    # 2. Best first. The stable sort makes ties fall the same way every time.
    order = np.flatnonzero(wanted)
    order = order[np.argsort(-scores[order], kind="stable")]
    boxes, scores, labels = boxes_xyxy[order], scores[order], label_ids[order]
    # 3. Suppress within each class.
    overlap = _iou(boxes)
    if not options.class_agnostic:
        overlap *= labels[:, None] == labels[None]
    if options.method == "hard":
        kept = _hard(overlap, options.iou_threshold)
    else:
        floors = np.maximum(least[order], _LEAST_SOFT_SCORE)
        scores = _soft(overlap, scores, options, float(floors.min(initial=1)))
        kept = np.flatnonzero(scores >= floors)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
    # 4. No more than asked for.
    kept = kept[: options.max_detections]
    return Picked(boxes[kept], scores[kept], labels[kept])


def least_scores(label_ids: NDArray[np.int64], options: NmsOptions) -> NDArray[np.float32]:
    """The score each candidate (K,) has to reach: its class's own threshold, else the common one."""
    least = np.full(label_ids.shape, options.score_threshold, np.float32)
    for label_id, threshold in options.label_score_thresholds.items():
        least[label_ids == label_id] = threshold
    return least


def _iou(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every pair: (D, 4) -> (D, D), 0 where both are empty."""
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = area[:, None] + area[None] - intersection
    overlap: NDArray[np.float32] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return overlap


def _hard(overlap: NDArray[np.float32], iou_threshold: float) -> NDArray[np.intp]:
    """Greedy NMS over boxes sorted by score: the indices that survive, in order."""
    suppresses = overlap > iou_threshold
    alive = np.ones(len(overlap), bool)
    for index in range(len(overlap)):
        if alive[index]:
            alive[index + 1 :] &= ~suppresses[index, index + 1 :]
    return np.flatnonzero(alive)


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
