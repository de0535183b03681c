"""Candidates of one image -> what is kept: threshold, class filter, NMS, top-k."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.detections import NmsOptions

SOFT_NMS_SIGMA = 0.5  # Bodla 2017, section 3


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
    wanted = (scores >= options.score_threshold) & (scores > 0)
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
        scores = _soft(overlap, scores, options)
        kept = np.flatnonzero(scores >= max(options.score_threshold, 1e-6))
        kept = kept[np.argsort(-scores[kept], kind="stable")]
    # 4. No more than asked for.
    kept = kept[: options.max_detections]
    return Picked(boxes[kept], scores[kept], labels[kept])


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


def _soft(overlap: NDArray[np.float32], scores: NDArray[np.float32], options: NmsOptions) -> NDArray[np.float32]:
    """Soft-NMS (Bodla 2017): the best box left lowers the scores of those it overlaps, instead of removing them."""
    scores = scores.copy()
    left = np.ones(len(scores), bool)
    while left.any():
        best = int(np.argmax(np.where(left, scores, -1)))
        left[best] = False
        if scores[best] < options.score_threshold:
            break
        if options.method == "soft_linear":
            decay = np.where(overlap[best] > options.iou_threshold, 1 - overlap[best], 1)
        else:
            decay = np.exp(-(overlap[best] ** 2) / SOFT_NMS_SIGMA)
        scores[left] *= decay[left]
    return scores
