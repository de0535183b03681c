"""
Spatial pyramid pooling of regions (SPPnet: He, Zhang, Ren, Sun 2014/2015, sections 2.2, 4 and appendix A).

A region becomes a window of the feature map, and the window the greatest values over a 1x1, 2x2, 3x3 and 6x6 grid: 50
bins whatever its size. Bin i of n over a window of w cells runs from floor(i w / n) to ceil((i + 1) w / n).
"""

import torch
from torch import Tensor
from torchvision.ops import roi_pool

LEVELS = (1, 2, 3, 6)
BINS = sum(level * level for level in LEVELS)


def windows(boxes_xyxy: Tensor, stride_px: int, map_hw: tuple[int, int]) -> Tensor:
    """
    Boxes (R, 4) in pixels -> first and last cell (R, 4) of each on the map, at least one cell, within the map.

    Appendix A, cells counted from 0: the near corner floor(x / S) + 1, the far one ceil(x / S) - 1, so that the cells'
    centres lie in the box.
    """
    near = torch.floor(boxes_xyxy[:, :2] / stride_px) + 1
    far = torch.ceil(boxes_xyxy[:, 2:] / stride_px) - 1
    limit = boxes_xyxy.new_tensor([map_hw[1] - 1, map_hw[0] - 1])
    middle = torch.minimum(torch.floor((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 / stride_px), limit).clamp(min=0)
    near, far = torch.minimum(near, limit), torch.minimum(far, limit)
    empty = far < near  # smaller than a cell, or between two centres: the cell it lies in
    return torch.cat([torch.where(empty, middle, near), torch.where(empty, middle, far)], dim=1)


def pyramid_pool(feature: Tensor, boxes_xyxy: Tensor, stride_px: int) -> Tensor:
    """feature (1, C, h, w) of one image, boxes (R, 4) in its pixels -> (R, 50 * C), level by level."""
    cells = windows(boxes_xyxy, stride_px, (feature.shape[2], feature.shape[3]))
    rois = torch.cat([cells.new_zeros(len(cells), 1), cells], dim=1)
    return torch.cat([roi_pool(feature, rois, (level, level), 1.0).flatten(1) for level in LEVELS], dim=1)
