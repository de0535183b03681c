"""
What the two networks are trained to make small.

Fast R-CNN (Girshick 2015, equations 1 to 3): L = -log p_u + lambda [u >= 1] sum over x, y, w, h of smoothL1(t_u - v),
where u is a region's class and smoothL1(x) = x^2 / 2 if |x| < 1, else |x| - 1/2; their mean, and
lambda = 1.
RPN (Ren et al. 2015, equation 1): log loss over N_cls = 256, and lambda = 10 times smoothL1 of the positives over
N_reg, the number of cells anchors lie on (about 2400 for 1000x600): about equal weights.
"""

import torch
from torch import Tensor
from torch.nn import functional

RPN_LAMBDA = 10.0
DETECTOR_LAMBDA = 1.0


def smooth_l1(difference: Tensor) -> Tensor:
    """Element by element."""
    size = difference.abs()
    return torch.where(size < 1, 0.5 * size**2, size - 0.5)


def rpn_loss(
    logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, batch: int, cells: int
) -> tuple[Tensor, Tensor]:
    """
    Of one image's sampled anchors: logits (S,) of being an object, deltas and targets (S, 4), labels (S,) 0 or 1.

    -> the log loss over batch, and lambda times the box loss over cells.
    """
    objectness = functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum") / batch
    positive = labels == 1
    return objectness, RPN_LAMBDA * smooth_l1(deltas[positive] - targets[positive]).sum() / cells


def detector_loss(logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """
    Of a step's regions: logits (R, K + 1), background first, deltas (R, K, 4) by class, labels (R,), targets (R, 4).

    -> the mean log loss, and lambda times the box loss of the objects' own classes over R.
    """
    objects = torch.where(labels > 0)[0]
    own = deltas[objects, labels[objects] - 1]
    boxes = smooth_l1(own - targets[objects]).sum() / max(len(labels), 1)
    return functional.cross_entropy(logits, labels), DETECTOR_LAMBDA * boxes
