"""
Which anchors and regions a step learns from.

RPN (Ren et al. 2015, section 3.1.2): an anchor inside the image is positive if its overlap with some object is above
0.7, or the highest that object has with any; negative if below 0.3 with all; 256 an image, at most half positive.
Detector (Girshick 2015, section 2.3): R = 128 regions from N = 2 images, a quarter of them objects (overlap of at least
0.5), the others background of overlap in [0.1, 0.5), which stands for mining hard examples.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from model.classic.anchors import inside

IGNORED = -1
RPN_POSITIVE_IOU, RPN_NEGATIVE_IOU = 0.7, 0.3
RPN_BATCH, RPN_MOST_POSITIVE = 256, 128
OBJECT_IOU, BACKGROUND_IOU = 0.5, (0.1, 0.5)
REGIONS_A_STEP, OBJECT_SHARE = 128, 0.25


@dataclass(frozen=True)
class Assigned:
    """For each anchor or region of one image its label (A,), IGNORED where it takes no part, and its object (A,)."""

    labels: Tensor
    objects: Tensor  # index into the image's objects; 0 where it has none


def label_anchors(anchors: Tensor, boxes: Tensor, image_hw: tuple[int, int]) -> Assigned:
    """anchors (A, 4) against objects (D, 4): 1 positive, 0 negative. Those across the image's edge are ignored."""
    usable = inside(anchors, image_hw)
    labels = torch.full((len(anchors),), IGNORED, device=anchors.device)
    if not len(boxes):
        labels[usable] = 0
        return Assigned(labels, torch.zeros_like(labels))
    iou = box_iou(anchors, boxes)
    iou[~usable] = -1
    best, objects = iou.max(1)
    labels[usable & (best < RPN_NEGATIVE_IOU)] = 0
    labels[best > RPN_POSITIVE_IOU] = 1
    highest = iou.amax(0)
    labels[((iou == highest) & (highest > 0)).any(1)] = 1
    return Assigned(labels, objects)


def label_regions(regions: Tensor, boxes: Tensor, classes: Tensor) -> Assigned:
    """regions (P, 4) against objects (D, 4) of classes (D,): the class from 1, 0 for background, else IGNORED."""
    labels = torch.full((len(regions),), IGNORED, device=regions.device)
    if not len(boxes):
        return Assigned(torch.zeros_like(labels), torch.zeros_like(labels))  # all is background, hard or not
    best, objects = box_iou(regions, boxes).max(1)
    low, high = BACKGROUND_IOU
    labels[(best >= low) & (best < high)] = 0
    labels = torch.where(best >= OBJECT_IOU, classes[objects], labels)
    return Assigned(labels, objects)


def sample(labels: Tensor, count: int, most_positive: int) -> Tensor:
    """
    Indices of at most count rows drawn at random, at most most_positive of them with a label above 0.

    Where there are fewer positives, negatives take their place.
    """
    positive = _drawn(torch.where(labels > 0)[0], most_positive)
    negative = _drawn(torch.where(labels == 0)[0], count - len(positive))
    return torch.cat([positive, negative])


def _drawn(rows: Tensor, count: int) -> Tensor:
    return rows[torch.randperm(len(rows), device=rows.device)[:count]]
