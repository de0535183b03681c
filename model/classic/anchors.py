"""
The reference boxes of Faster R-CNN (Ren et al. 2015, section 3.1.1): k of them at every cell of a map of stride 16.

The paper's k = 9 have areas of 128, 256 and 512 squared at height to width 1:2, 1:1 and 2:1, centred on their cell. An
image of 1000x600 gives about 20 000, of which about 6000 lie inside it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from model.classic.trunks import STRIDE_PX

PAPER_SIDES_PX = (128, 256, 512)
PAPER_HEIGHT_TO_WIDTH = (0.5, 1.0, 2.0)


class CellAnchors(AnchorGenerator):
    """One level of anchors, stride_px apart whatever the image's size; called as torchvision's RPN calls its own."""

    def __init__(
        self,
        sides_px: Sequence[float] = PAPER_SIDES_PX,
        height_to_width: Sequence[float] = PAPER_HEIGHT_TO_WIDTH,
        stride_px: int = STRIDE_PX,
    ) -> None:
        super().__init__((tuple(sides_px),), (tuple(height_to_width),))
        rows = zip(self.sizes, self.aspect_ratios, strict=True)
        self.stride_px = stride_px
        self.cell_anchors: list[Tensor] = [self.generate_anchors(*row) + stride_px / 2 for row in rows]

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """-> (h * w * k, 4) for each image of image_list, row by row and cell by cell."""
        (feature,) = feature_maps
        self.set_cell_anchors(feature.dtype, feature.device)
        stride = torch.tensor(self.stride_px, device=feature.device)
        (anchors,) = self.grid_anchors([list(feature.shape[-2:])], [[stride, stride]])
        return [anchors] * len(image_list.image_sizes)


def inside(boxes_xyxy: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """Which of boxes (A, 4) cross no edge of the image: bool (A,)."""
    height, width = image_hw
    return (boxes_xyxy[:, :2] >= 0).all(1) & (boxes_xyxy[:, 2] <= width) & (boxes_xyxy[:, 3] <= height)
