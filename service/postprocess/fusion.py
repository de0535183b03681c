"""
What several views of one image showed -> one answer: weighted boxes fusion (Solovyev et al. 2021, Weighted boxes
fusion: Ensembling boxes from different object detection models, section 3), and masks averaged over the fused boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.detections import NmsOptions
from service.postprocess.boxes import Picked, least_scores

FUSION_IOU = 0.55  # Solovyev et al. 2021, section 3, step 3: overlap above which boxes are of one object


@dataclass(frozen=True)
class Shown:
    """What one view showed, not mirrored any more. Boxes are in pixels of the image."""

    picked: Picked  # of D objects
    probabilities: NDArray[np.float32] | None  # (D, S, S) over the boxes, None without masks


def asked_of_views(options: NmsOptions) -> NmsOptions:
    """
    options for a single view: down to half the score, for what other views saw better may make up for it.

    A box left out so would have added less than half the threshold, divided by the number of views.
    """
    halved = {label: least / 2 for label, least in options.label_score_thresholds.items()}
    return replace(options, score_threshold=options.score_threshold / 2, label_score_thresholds=halved)


def fuse(shown: Sequence[Shown], options: NmsOptions) -> Shown:
    """What all views showed together, best score first, within options' thresholds and number."""
    boxes = np.concatenate([one.picked.boxes_xyxy for one in shown])
    scores = np.concatenate([one.picked.scores for one in shown])
    labels = np.concatenate([one.picked.label_ids for one in shown])
    clusters = cluster(boxes, scores, np.zeros_like(labels) if options.class_agnostic else labels)
    confidences = confidence(scores, clusters, len(shown))
    label_ids = np.array([labels[members[0]] for members in clusters], np.int64)  # the best score's
    # What is left out needs no mask.
    kept = np.argsort(-confidences, kind="stable")
    kept = kept[confidences[kept] >= least_scores(label_ids[kept], options)][: options.max_detections]
    clusters = [clusters[index] for index in kept]
    fused = weighted_boxes(boxes, scores, clusters)
    picked = Picked(fused, confidences[kept], label_ids[kept])
    grids = [one.probabilities for one in shown if one.probabilities is not None and len(one.probabilities)]
    if not grids or not clusters:
        return Shown(picked, None if shown[0].probabilities is None else np.zeros((0, 1, 1), np.float32))
    return Shown(picked, average_masks(np.concatenate(grids), boxes, scores, clusters, fused))


def cluster(
    boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32], label_ids: NDArray[np.int64]
) -> list[list[int]]:
    """
    Boxes (M, 4) of all views -> the indices of those of one object, best score first.

    Best score first, each joins the object of its class whose fused box it overlaps most, above FUSION_IOU, and moves
    that box; or is an object of its own (the paper's steps 3 to 6). scores (M,) are above 0.
    """
    fused, fused_labels = np.zeros((len(boxes_xyxy), 4)), np.zeros(len(boxes_xyxy), np.int64)
    clusters: list[list[int]] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        count, place = len(clusters), len(clusters)
        if count:
            overlap = _iou(boxes_xyxy[index], fused[:count]) * (fused_labels[:count] == label_ids[index])
            best = int(np.argmax(overlap))
            place = best if overlap[best] > FUSION_IOU else count
        if place == count:
            clusters.append([])
            fused_labels[place] = label_ids[index]
        clusters[place].append(index)
        fused[place] = np.average(boxes_xyxy[clusters[place]], axis=0, weights=scores[clusters[place]])
    return clusters


def confidence(scores: NDArray[np.float32], clusters: Sequence[Sequence[int]], views: int) -> NDArray[np.float32]:
    """The mean score of each cluster, less in proportion where fewer boxes than views are in it (step 7)."""
    return np.array([scores[list(c)].mean() * min(len(c), views) / views for c in clusters], np.float32)


def weighted_boxes(
    boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32], clusters: Sequence[Sequence[int]]
) -> NDArray[np.float32]:
    """The mean box of each cluster, by score (step 6): (F, 4)."""
    means = [np.average(boxes_xyxy[list(c)], axis=0, weights=scores[list(c)]) for c in clusters]
    return np.array(means, np.float32).reshape(-1, 4)


def average_masks(
    probabilities: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    clusters: Sequence[Sequence[int]],
    fused_xyxy: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Probabilities (M, S, S) over boxes (M, 4) -> (F, S, S) over the fused boxes: means by score."""
    members = np.concatenate([np.array(c, np.int64) for c in clusters])
    sizes = np.array([len(c) for c in clusters])
    firsts = np.cumsum(sizes) - sizes
    moved = _over(np.repeat(fused_xyxy, sizes, axis=0), probabilities[members], boxes_xyxy[members])
    weights = scores[members].astype(np.float64)
    weights /= np.repeat(np.add.reduceat(weights, firsts), sizes)
    return np.add.reduceat(moved * weights[:, None, None], firsts).astype(np.float32)


def _over(
    targets_xyxy: NDArray[np.float32], grids: NDArray[np.float32], boxes_xyxy: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Grids (M, S, S) over boxes (M, 4), seen by as many cells over targets (M, 4): bilinear, 0 outside their box."""
    side = grids.shape[1]
    centres = (np.arange(side) + 0.5) / side
    start, extent = boxes_xyxy[:, :2], np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 1e-6)
    corner, size = targets_xyxy[:, :2], targets_xyxy[:, 2:] - targets_xyxy[:, :2]
    places = (corner[:, :, None] + size[:, :, None] * centres - start[:, :, None]) / extent[:, :, None] * side - 0.5
    weights = np.maximum(0, 1 - np.abs(places[..., None] - np.arange(side)))  # (M, 2, S, S): x, then y
    seen: NDArray[np.float64] = weights[:, 1] @ grids @ weights[:, 0].transpose(0, 2, 1)
    return seen


def _iou(box_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """One box (4,) against others (D, 4) -> (D,), 0 where both are empty."""
    sides = np.minimum(box_xyxy[2:], others_xyxy[:, 2:]) - np.maximum(box_xyxy[:2], others_xyxy[:, :2])
    common = np.maximum(sides, 0).prod(1)
    union = (box_xyxy[2:] - box_xyxy[:2]).prod() + (others_xyxy[:, 2:] - others_xyxy[:, :2]).prod(1) - common
    overlap: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlap
