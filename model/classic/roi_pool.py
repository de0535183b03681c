"""
RoI max pooling (Girshick 2015, "Fast R-CNN", section 2.1): any region of a feature map -> a grid of fixed size.

A region's corners, in image pixels, are brought to the map and rounded to its cells, both ends counted; the h x w cells
are cut into H x W bins of about h/H x w/W, bin i from floor(i h/H) to ceil((i + 1) h/H), so that neighbours share a row
where h/H is no whole number; each bin gives its greatest value, and an empty bin zero.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import ops

from model.classic.trunks import STRIDE_PX

OUTPUT_HW = (7, 7)


def bins(first_cell: int, cells: int, count: int, limit: int) -> list[tuple[int, int]]:
    """(start, end) of each of count bins over `cells` cells from first_cell, cut at the map's 0 and limit."""
    edges = [(math.floor(i * cells / count), math.ceil((i + 1) * cells / count)) for i in range(count)]
    return [tuple(min(max(first_cell + edge, 0), limit) for edge in pair) for pair in edges]  # type: ignore[misc]


def roi_max_pool(
    feature: Tensor, rois: Tensor, output_hw: tuple[int, int] = OUTPUT_HW, scale: float = 1 / STRIDE_PX
) -> Tensor:
    """
    feature (N, C, h, w), rois (R, 5) image index and x1, y1, x2, y2 in pixels -> (R, C, *output_hw).

    The definition, bin by bin; torchvision's `roi_pool` computes the same in one kernel and is what runs (RoiPool).
    """
    pooled = feature.new_zeros(len(rois), feature.shape[1], *output_hw)
    for number, roi in enumerate(rois):
        x1, y1, x2, y2 = (math.floor(float(corner) * scale + 0.5) for corner in roi[1:])
        rows = bins(y1, max(y2 - y1 + 1, 1), output_hw[0], feature.shape[2])
        columns = bins(x1, max(x2 - x1 + 1, 1), output_hw[1], feature.shape[3])
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    pooled[number, :, i, j] = feature[int(roi[0]), :, top:bottom, left:right].amax((1, 2))
    return pooled


class RoiPool(nn.Module):
    """RoI max pooling of a trunk's one feature map, called as torchvision's RoI heads call theirs."""

    names = ("0",)

    def __init__(self, output_hw: tuple[int, int] = OUTPUT_HW, stride_px: int = STRIDE_PX) -> None:
        super().__init__()
        self.output_size, self.stride_px = output_hw, stride_px

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: Any = None) -> Tensor:
        """features {"0": (N, C, h, w)}, boxes (P, 4) an image -> (all P, C, *output_size)."""
        return self.over([features["0"]], indexed(boxes))

    def over(self, features: list[Tensor], rois: Tensor) -> Tensor:
        """features, one (N, C, h, w), and rois (R, 5) -> (R, C, *output_size)."""
        return ops.roi_pool(features[0], rois, self.output_size, 1 / self.stride_px)


def indexed(boxes: list[Tensor]) -> Tensor:
    """Boxes (P, 4) an image -> rois (all P, 5) with their image's index before them."""
    return torch.cat([torch.cat([box.new_full((len(box), 1), i), box], 1) for i, box in enumerate(boxes)])
