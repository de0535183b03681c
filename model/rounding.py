"""
Which of a model's detections hang on a decision closer than rounding, and which do not.

Two programs that compute the same network in another order of additions differ in the last digits. Every cut of a
two-stage detector (top-k, thresholds, who suppresses whom, which pyramid level) can turn such a difference into
another answer. Here the eager model's decisions are taken again in three values: a box is `sure` if it survives
whichever way every close decision falls, and `possible` if it survives for some way. A program is right if it finds
every sure detection and nothing that is not possible.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Verdict:
    """(A,) each: in the answer whichever way the close decisions fall; in it for some way. sure implies possible."""

    sure: Tensor
    possible: Tensor

    def __and__(self, other: "Verdict") -> "Verdict":
        return Verdict(self.sure & other.sure, self.possible & other.possible)


def above(values: Tensor, threshold: float, margin: float | Tensor) -> Verdict:
    """values (A,) against a threshold."""
    return Verdict(values > threshold + margin, values >= threshold - margin)


def top(values: Tensor, margin: Tensor, k: int, alive: Verdict) -> Verdict:
    """The k highest of those alive: surely if too few possible ones might pass it, possibly if too few sure ones do."""
    may_pass = torch.sort((values + margin)[alive.possible]).values
    must_pass = torch.sort((values - margin)[alive.sure]).values
    rivals = len(may_pass) - torch.searchsorted(may_pass, values - margin) - 1  # itself is no rival
    betters = len(must_pass) - torch.searchsorted(must_pass, values + margin, right=True)
    return alive & Verdict(rivals < k, betters < k)


def suppress(boxes: Tensor, values: Tensor, margin: Tensor, threshold: float, box_px: float, alive: Verdict) -> Verdict:
    """
    Greedy NMS over boxes (A, 4) ranked by values (A,) within margin (A,).

    A box is surely out if a surely kept, surely better one surely overlaps it too much; possibly out likewise.
    """
    order = values.argsort(descending=True, stable=True)
    boxes, values, margin = boxes[order], values[order], margin[order]
    least, most = overlap_bounds(boxes, box_px)
    sure, possible = alive.sure[order].clone(), alive.possible[order].clone()
    might_hide = most > threshold
    for index in torch.nonzero(possible).flatten().tolist():
        ahead = values - margin > values[index] + margin[index]
        near = values + margin >= values[index] - margin[index]
        near[index] = False
        if bool((sure & ahead & (least[index] > threshold)).any()):
            sure[index] = possible[index] = False
        elif bool((possible & near & might_hide[index]).any()):
            sure[index] = False
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return Verdict(sure[back], possible[back])


def overlap_bounds(boxes: Tensor, box_px: float) -> tuple[Tensor, Tensor]:
    """The least and greatest IoU of every pair (A, A) if each edge of boxes (A, 4) may be off by box_px."""
    shift = boxes.new_tensor([-box_px, -box_px, box_px, box_px])
    small, large = boxes - shift, boxes + shift
    least = _intersection(small) / _union(large, small).clamp(min=1e-9)
    most = _intersection(large) / _union(small, large).clamp(min=1e-9)
    return least.clamp(0, 1), most.clamp(0, 1)


def _intersection(boxes: Tensor) -> Tensor:
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return (high - low).clamp(min=0).prod(-1)


def _union(boxes: Tensor, overlapping: Tensor) -> Tensor:
    """Area of pairs of boxes, less the part they share when they are as in overlapping."""
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1)
    return area[:, None] + area[None] - _intersection(overlapping)
