"""
What a candidate saw beside what the stable model saw in the same image: object by object, then in one word.

Two answers are paired one to one so that all partners together overlap most, one of the same label counting for a whole
overlap more. The assignment is exact, and each pair has the same partners whichever answer is called stable.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from service.assignment import assignment
from service.detections import Detections, RleMask
from service.mask_overlap import mask_ious

Outcome = Literal["agree", "missed", "extra", "relabelled", "moved", "mask_changed", "score_shifted", "candidate_error"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_NEARER_SCORE = 1e-6  # of an overlap
_GRAVEST_FIRST: tuple[Outcome, ...] = ("missed", "extra", "relabelled", "moved", "mask_changed", "score_shifted")


@dataclass(frozen=True)
class Tolerances:
    """What two answers may differ by and still agree."""

    match_iou: float = 0.5  # at least: the same object
    box_iou: float = 0.8  # at least: the same place
    mask_iou: float = 0.8  # at least: the same mask
    score: float = 0.1  # at most: the same certainty


@dataclass(frozen=True)
class Match:
    """One object seen by both: indices into the two answers, and how the two differ."""

    stable: int
    candidate: int
    box_iou: float
    score_change: float  # candidate less stable
    mask_iou: float | None  # None without masks on both sides
    outcome: Outcome


@dataclass(frozen=True)
class Seen:
    """One object as the stable model saw it, or as the candidate did where it was alone; and what became of it."""

    label: str
    box_area_px: float
    outcome: Outcome


@dataclass(frozen=True)
class Pairing:
    """
    outcome is the gravest thing that happened to any object. missed and extra are indices into the stable and the
    candidate's answer. disagreement is the share of all objects of both answers without a partner that agrees, 0 to 1.
    seen: every object counted once; forgiven ones are left out.
    """

    outcome: Outcome
    disagreement: float
    matches: tuple[Match, ...] = ()
    missed: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    objects: Mapping[Outcome, int] = field(default_factory=dict)
    seen: tuple[Seen, ...] = ()


CANDIDATE_FAILED = Pairing("candidate_error", 1.0)


def pair(
    stable: Detections,
    candidate: Detections,
    score_threshold: float,
    tolerances: Tolerances = Tolerances(),
    class_thresholds: Mapping[str, float] = MappingProxyType({}),
) -> Pairing:
    """
    Compare two answers to the same question.

    An object seen by one side alone is forgiven if its score is within tolerance of its threshold (class_thresholds
    by label, else score_threshold): had the other side seen it with a score as much lower as is tolerated, it would
    not have been in the answer.
    Raises ValueError if the answers are of images of different sizes.
    """
    if stable.image_hw != candidate.image_hw:
        raise ValueError(f"answers about images of {stable.image_hw} and {candidate.image_hw}")
    partners = _partners(stable, candidate, tolerances.match_iou)
    overlaps = _mask_overlaps(stable, candidate, partners)
    matches = tuple(
        _match(stable, candidate, *partner, overlap, tolerances)
        for partner, overlap in zip(partners, overlaps, strict=True)
    )

    def certain(label: str) -> float:
        return class_thresholds.get(label, score_threshold) + tolerances.score

    missed = _alone(stable, {match.stable for match in matches}, certain)
    extra = _alone(candidate, {match.candidate for match in matches}, certain)
    objects: Counter[Outcome] = Counter(match.outcome for match in matches)
    objects.update({"missed": len(missed), "extra": len(extra)})
    both = 2 * len(matches) + len(missed) + len(extra)
    outcome: Outcome = next((outcome for outcome in _GRAVEST_FIRST if objects[outcome]), "agree")
    disagreement = 1 - 2 * objects["agree"] / both if both else 0.0
    each = tuple(_seen(stable, match.stable, match.outcome) for match in matches)
    each += tuple(_seen(stable, i, "missed") for i in missed) + tuple(_seen(candidate, i, "extra") for i in extra)
    return Pairing(outcome, disagreement, matches, missed, extra, dict(objects), each)


def _seen(found: Detections, index: int, outcome: Outcome) -> Seen:
    left, top, right, bottom = found.boxes_xyxy[index].tolist()
    return Seen(found.labels[index], (right - left) * (bottom - top), outcome)


def _partners(stable: Detections, candidate: Detections, least_iou: float) -> list[tuple[int, int, float]]:
    """(stable, candidate, IoU): what overlaps by least_iou, by IoU and label; of equals, by the nearer score."""
    ious = box_ious(stable.boxes_xyxy, candidate.boxes_xyxy)
    numbers = {label: number for number, label in enumerate({*stable.labels, *candidate.labels})}
    same = np.equal.outer(*([numbers[label] for label in found.labels] for found in (stable, candidate)))
    apart = np.abs(stable.scores[:, None].astype(np.float64) - candidate.scores[None, :])
    gains = np.where(ious >= least_iou, ious + same + _NEARER_SCORE * (1 - apart), 0.0)
    if _order(stable) <= _order(candidate):  # the same one of two equal assignments, from whichever side
        partners = assignment(gains)
    else:
        partners = sorted((row, column) for column, row in assignment(gains.T))
    return [(row, column, float(ious[row, column])) for row, column in partners]


def _order(found: Detections) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Any order of answers that does not know which of them is called stable."""
    return found.boxes_xyxy.tobytes(), found.scores.tobytes(), found.labels


def _mask_overlaps(
    stable: Detections, candidate: Detections, partners: Sequence[tuple[int, int, float]]
) -> list[float | None]:
    """Of each pair; None where either has no mask of run lengths."""
    pairs = [(_rle(stable, here), _rle(candidate, there)) for here, there, _ in partners]
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    found = iter(mask_ious([one for one, _ in both], [other for _, other in both]).tolist())
    return [None if one is None or other is None else next(found) for one, other in pairs]


def _rle(found: Detections, index: int) -> RleMask | None:
    mask = found.masks[index] if found.masks else None
    return mask if isinstance(mask, RleMask) else None


def _match(
    stable: Detections,
    candidate: Detections,
    here: int,
    there: int,
    box_iou: float,
    overlap: float | None,
    tolerances: Tolerances,
) -> Match:
    change = float(candidate.scores[there] - stable.scores[here])
    outcome: Outcome = "agree"
    if stable.labels[here] != candidate.labels[there]:
        outcome = "relabelled"
    elif box_iou < tolerances.box_iou:
        outcome = "moved"
    elif bool(stable.masks) != bool(candidate.masks) or (overlap is not None and overlap < tolerances.mask_iou):
        outcome = "mask_changed"
    elif abs(change) > tolerances.score:
        outcome = "score_shifted"
    return Match(here, there, box_iou, change, overlap, outcome)


def _alone(found: Detections, matched: set[int], certain: Callable[[str], float]) -> tuple[int, ...]:
    rows = enumerate(zip(found.scores.tolist(), found.labels, strict=True))
    return tuple(i for i, (score, label) in rows if i not in matched and score >= certain(label))


def box_ious(boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(A, 4) and (B, 4) -> (A, B), 0 where neither has an area."""
    low = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    width, height = np.moveaxis(np.maximum(high - low, 0), -1, 0)
    both = width * height
    area, other_area = (np.prod(b[:, 2:] - b[:, :2], -1) for b in (boxes_xyxy, others_xyxy))
    either = area[:, None] + other_area[None, :] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0), np.float32)
