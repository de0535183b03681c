"""
How a box is told from a region (Girshick et al. 2014, "R-CNN", appendix C; Faster R-CNN, equation 2).

For a region of centre (x, y) and sides (w, h) and its object's (x*, y*, w*, h*):
t = ((x* - x) / w, (y* - y) / h, log(w* / w), log(h* / h)). Fast R-CNN normalises the targets to mean 0 and variance 1;
its published code, like this one, divides by deviations fixed beforehand.
"""

import math

import torch
from torch import Tensor

TARGET_STD = (0.1, 0.1, 0.2, 0.2)  # Fast and Faster R-CNN's second stage, as published; the RPN's are 1
UNIT_STD = (1.0, 1.0, 1.0, 1.0)
LONGEST_STRETCH = math.log(1000 / 16)  # more than any image needs; keeps exp() finite


def encode(regions_xyxy: Tensor, boxes_xyxy: Tensor, std: tuple[float, float, float, float] = UNIT_STD) -> Tensor:
    """regions and boxes (..., 4), pair by pair -> targets (..., 4), divided by std."""
    region_centre, region_size = _centre_and_size(regions_xyxy)
    centre, size = _centre_and_size(boxes_xyxy)
    targets = torch.cat([(centre - region_centre) / region_size, (size / region_size).log()], -1)
    return targets / targets.new_tensor(std)


def decode(regions_xyxy: Tensor, targets: Tensor, std: tuple[float, float, float, float] = UNIT_STD) -> Tensor:
    """The inverse of encode: regions and targets (..., 4), pair by pair -> boxes (..., 4), not clipped."""
    region_centre, region_size = _centre_and_size(regions_xyxy)
    targets = targets * targets.new_tensor(std)
    centre = region_centre + targets[..., :2] * region_size
    half = 0.5 * region_size * targets[..., 2:].clamp(max=LONGEST_STRETCH).exp()
    return torch.cat([centre - half, centre + half], -1)


def _centre_and_size(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return boxes_xyxy[..., :2] + 0.5 * size, size
