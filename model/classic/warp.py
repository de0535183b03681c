"""Any region -> a square of fixed size with some of its surroundings (R-CNN: Girshick et al. 2014, appendix A)."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX, CONTEXT_PX = 227, 16


def warp(
    image_rgb: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.float32],
    fill_rgb: tuple[int, ...],
    *,
    side_px: int = SIDE_PX,
    context_px: int = CONTEXT_PX,
) -> NDArray[np.uint8]:
    """
    image_rgb (H, W, 3), boxes (N, 4) -> (N, side_px, side_px, 3), each box stretched to the square less its context.

    Whatever the box's shape, context_px pixels of the result on every side are what lies around it; what lies outside
    the image is fill_rgb. Boxes thinner than a pixel are taken as one pixel wide.
    """
    squares = np.empty((len(boxes_xyxy), side_px, side_px, 3), np.uint8)
    size_xy = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 1.0)
    scale_xy = (side_px - 2 * context_px) / size_xy
    # Pixel i covers i to i + 1: a corner at x falls on context_px, a pixel's centre half a pixel further.
    shift_xy = (0.5 - boxes_xyxy[:, :2]) * scale_xy + context_px - 0.5
    for square, scale, shift in zip(squares, scale_xy, shift_xy, strict=True):
        matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]], np.float64)
        cv2.warpAffine(
            image_rgb,
            matrix,
            (side_px, side_px),
            dst=square,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=fill_rgb,
        )
    return squares
