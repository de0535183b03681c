"""Mask probabilities over a box -> the box's own crop of the binary mask, as torchvision would paste it."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Crop:
    """A binary mask's own rectangle in an image, clipped to it; pixels may be (0, 0) in size."""

    pixels: NDArray[np.bool_]  # (h, w)
    origin_xy: tuple[int, int]
    image_hw: tuple[int, int]


def paste(
    probabilities: NDArray[np.float32], boxes_xyxy: NDArray[np.float32], image_hw: tuple[int, int]
) -> Iterator[Crop]:
    """
    Probabilities (D, S, S) over boxes (D, 4) in image pixels -> for each the pixels above one half.

    Pixel for pixel torchvision's paste_masks_in_image: the mask with a border of zeros, its box grown in proportion,
    interpolated bilinearly. One crop at a time: what all of them cover together is never held.
    """
    side = probabilities.shape[1]
    padded = np.zeros((len(probabilities), side + 2, side + 2), np.float32)
    padded[:, 1:-1, 1:-1] = probabilities
    corners, far_corners = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    centres, halves = (corners + far_corners) * 0.5, (far_corners - corners) * 0.5 * (side + 2) / side
    firsts = (centres - halves).astype(np.int64)  # toward zero, as torchvision does
    sizes = np.maximum((centres + halves).astype(np.int64) - firsts + 1, 1)
    image_h, image_w = image_hw
    for grid, (x, y), (width, height) in zip(padded, firsts.tolist(), sizes.tolist(), strict=True):
        left, top = max(x, 0), max(y, 0)
        right, bottom = max(min(x + width, image_w), left), max(min(y + height, image_h), top)
        resized = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        yield Crop(resized[top - y : bottom - y, left - x : right - x] > 0.5, (left, top), image_hw)
