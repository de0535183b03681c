"""A detector at the score threshold it is served with: what it gets right, what it confuses, how sure it may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.average_precision import Matches

MATCH_IOU = 0.5
CALIBRATION_BINS = 20


@dataclass(frozen=True)
class ImageMatch:
    """
    One image at the operating threshold, detections matched to truths whatever their classes.

    pair[i] is the truth that detection i covers, -1 if none, -2 if it lies on a crowd region and does not count.
    """

    boxes_xyxy: NDArray[np.float32]  # (D, 4) best score first
    scores: NDArray[np.float32]  # (D,)
    class_index: NDArray[np.int64]  # (D,) from 0
    truth_xyxy: NDArray[np.float32]  # (G, 4) without crowd regions
    truth_class: NDArray[np.int64]  # (G,)
    pair: NDArray[np.int64]  # (D,)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(D,) on a truth of its own class."""
        found = self.pair >= 0
        found[found] = self.class_index[found] == self.truth_class[self.pair[found]]
        return found

    @property
    def missed(self) -> NDArray[np.bool_]:
        """(G,) covered by no detection."""
        return ~np.isin(np.arange(len(self.truth_class)), self.pair)

    @property
    def f1(self) -> float:
        """1 is perfect, as is finding nothing where nothing is."""
        right, counted = int(self.right.sum()), int((self.pair != -2).sum())
        total = counted + len(self.truth_class)
        return 2 * right / total if total else 1.0


def match_image(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_index: NDArray[np.int64],
    truth_xyxy: NDArray[np.float32],
    truth_class: NDArray[np.int64],
    crowd_xyxy: NDArray[np.float32],
) -> ImageMatch:
    """Greedily, best score first, each detection to the free truth it overlaps most, IoU at least MATCH_IOU."""
    order = np.argsort(-scores, kind="stable")
    boxes_xyxy, scores, class_index = boxes_xyxy[order], scores[order], class_index[order]
    overlaps = iou(boxes_xyxy, truth_xyxy)
    on_crowd = _covered(boxes_xyxy, crowd_xyxy)
    pair = np.full(len(scores), -1)
    for index in range(len(scores)):
        best = int(np.argmax(overlaps[index])) if overlaps.shape[1] else -1
        if best >= 0 and overlaps[index, best] >= MATCH_IOU:
            pair[index] = best
            overlaps[:, best] = -1
        elif on_crowd[index]:
            pair[index] = -2
    return ImageMatch(boxes_xyxy, scores, class_index, truth_xyxy, truth_class, pair)


def iou(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(A, 4), (B, 4) -> intersection over union (A, B)."""
    intersection = _intersection(a_xyxy, b_xyxy)
    areas_a, areas_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a_xyxy, b_xyxy))
    return intersection / np.maximum(areas_a[:, None] + areas_b[None] - intersection, 1e-9)


def _covered(boxes_xyxy: NDArray[np.float32], crowd_xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(D,) at least half of the box lies in one crowd region."""
    areas = np.maximum(np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1), 1e-9)
    parts = _intersection(boxes_xyxy, crowd_xyxy) / areas[:, None]
    return np.asarray(parts.max(1, initial=0) >= MATCH_IOU)


def _intersection(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:]) - np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    return np.asarray(np.maximum(sides, 0).prod(2))


def confusion(matches: list[ImageMatch], classes: int) -> NDArray[np.int64]:
    """(classes + 1, classes + 1): row truth, column detection; the last is "nothing": false alarms and misses."""
    table = np.zeros((classes + 1, classes + 1), np.int64)
    for match in matches:
        for index, truth in zip(match.class_index, match.pair, strict=True):
            if truth != -2:
                table[match.truth_class[truth] if truth >= 0 else classes, index] += 1
        np.add.at(table[:, classes], match.truth_class[match.missed], 1)
    return table


def precision_recall(by_class: list[Matches], thresholds: Sequence[float]) -> dict[str, float | None]:
    """At MATCH_IOU, matched class by class as AP is, all classes together; None where nothing is found or to be."""
    kept = [
        (found.scores >= threshold) & found.counted[0] for found, threshold in zip(by_class, thresholds, strict=True)
    ]
    right = sum(int(found.matched[0][keep].sum()) for found, keep in zip(by_class, kept, strict=True))
    given, truths = sum(int(keep.sum()) for keep in kept), sum(int(found.truths.sum()) for found in by_class)
    return {
        "precision": round(right / given, 4) if given else None,
        "recall": round(right / truths, 4) if truths else None,
    }


@dataclass(frozen=True)
class Reliability:
    """Detections by score: how sure the model was (confidence) and how often it was right (precision), bin by bin."""

    confidence: NDArray[np.float64]  # (bins,) NaN where a bin is empty
    precision: NDArray[np.float64]  # (bins,)
    count: NDArray[np.int64]  # (bins,)

    @property
    def error(self) -> float | None:
        """
        D-ECE, the detection calibration error over the score alone (Küppers et al. 2020, Multivariate Confidence
        Calibration for Object Detection, eq. 4): the gap between precision and confidence, weighted by count.
        """
        if not self.count.sum():
            return None
        gaps = np.abs(self.precision - self.confidence)
        return round(float(np.nansum(gaps * self.count) / self.count.sum()), 4)


def reliability(by_class: list[Matches]) -> Reliability:
    """Over every counted detection of every class, right if matched at MATCH_IOU."""
    scores = np.concatenate([found.scores[found.counted[0]] for found in by_class])
    right = np.concatenate([found.matched[0][found.counted[0]] for found in by_class])
    place = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    count = np.bincount(place, minlength=CALIBRATION_BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, scores, CALIBRATION_BINS) / count
        precision = np.bincount(place, right, CALIBRATION_BINS) / count
    return Reliability(confidence, precision, count)


def mean_iou(judged: Any, thresholds: Mapping[int, float]) -> float | None:
    """Of the detections at the threshold of their category with the truths they match at MATCH_IOU; None if none."""
    found: list[float] = []
    images = len(judged.params.imgIds)
    for row in (
        row for index, row in enumerate(judged.evalImgs) if row is not None and _all_sizes(judged, index, images)
    ):
        key = row["image_id"], row["category_id"]
        truth_index = {truth["id"]: index for index, truth in enumerate(judged._gts[key])}
        for index, (score, truth) in enumerate(zip(row["dtScores"], row["dtMatches"][0], strict=True)):
            if score >= thresholds[row["category_id"]] and truth > 0 and not row["dtIgnore"][0][index]:
                found.append(float(judged.ious[key][index][truth_index[int(truth)]]))
    return round(float(np.mean(found)), 4) if found else None


def _all_sizes(judged: Any, index: int, images: int) -> bool:
    return bool(index // images % len(judged.params.areaRng) == 0)
