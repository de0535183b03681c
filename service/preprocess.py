"""Image -> canvas, plus the geometry that undoes it. Pure: an image's canvas depends on that image alone."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.bundle import Preprocess
from service.views import PLAIN, View, mirrored


@dataclass(frozen=True)
class Geometry:
    """Where an image lies on its canvas: resized to resized_hw, mirrored or not, top-left aligned, zeros beyond."""

    image_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    canvas_hw: tuple[int, int]
    is_mirrored: bool = False

    def to_image_pixels(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Canvas boxes (D, 4) -> image boxes (D, 4), each axis by its own exact ratio, as torchvision does."""
        if self.is_mirrored:
            boxes_xyxy = mirrored(boxes_xyxy, self.resized_hw[1])
        ratio_x = self.image_hw[1] / self.resized_hw[1]
        ratio_y = self.image_hw[0] / self.resized_hw[0]
        ratios = np.array([ratio_x, ratio_y, ratio_x, ratio_y])
        moved: NDArray[np.float32] = (boxes_xyxy * ratios).astype(np.float32)
        return moved

    def points_to_image_pixels(self, points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Canvas points (..., 2) of a view that is not mirrored -> image points, by the same ratios."""
        ratios = np.array([self.image_hw[1] / self.resized_hw[1], self.image_hw[0] / self.resized_hw[0]])
        moved: NDArray[np.float32] = (points_xy * ratios).astype(np.float32)
        return moved


def resized_hw(image_hw: tuple[int, int], spec: Preprocess) -> tuple[int, int]:
    """The size an image of image_hw is brought to before it is laid on a canvas; at least 1 x 1."""
    short_px, long_px = min(image_hw), max(image_hw)
    if spec.resize == "fit":
        scale = min(spec.min_size / short_px, spec.max_size / long_px)
    else:
        scale = min(max(1.0, spec.min_size / short_px), spec.max_size / long_px)
    # 1e-6 keeps exact ratios such as 1/3 from losing a pixel to the floor.
    return max(1, int(image_hw[0] * scale + 1e-6)), max(1, int(image_hw[1] * scale + 1e-6))


def plan(image_hw: tuple[int, int], spec: Preprocess, view: View = PLAIN) -> Geometry:
    """Where a view of an image of image_hw will lie: the smallest canvas of the grid, at its scale, that holds it."""
    height, width = (max(1, int(side * view.scale)) for side in resized_hw(image_hw, spec))
    grid = map(view.canvas, spec.canvas_grid)
    holding = [canvas for canvas in grid if canvas[0] >= height and canvas[1] >= width]
    return Geometry(image_hw, (height, width), min(holding, key=lambda canvas: canvas[0] * canvas[1]), view.is_mirrored)


def to_canvas(image: NDArray[np.uint8], spec: Preprocess, view: View = PLAIN) -> tuple[NDArray[np.uint8], Geometry]:
    """(H, W, 3) uint8 RGB -> canvas (Hc, Wc, 3) uint8 and its geometry. Bilinear, half-pixel centres, no antialias."""
    geometry = plan((image.shape[0], image.shape[1]), spec, view)
    if view.is_mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
    height, width = geometry.resized_hw
    canvas = np.empty((*geometry.canvas_hw, 3), np.uint8)
    canvas[height:], canvas[:height, width:] = 0, 0  # only what the image does not cover: the rest is written once
    covered = canvas[:height, :width]
    if covered.shape == image.shape:
        covered[:] = image
    else:
        cv2.resize(image, (width, height), dst=covered, interpolation=cv2.INTER_LINEAR)
    return canvas, geometry
