"""Test-time augmentation: which views of an image a model is asked about."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.detections import Augmentation

_SCALES = (0.8, 1.25)
_STRIDE_PX = 32  # what sides of canvases are whole multiples of: the coarsest pyramid level


@dataclass(frozen=True)
class View:
    """The image mirrored left to right or not, and how large beside the size the bundle brings images to."""

    is_mirrored: bool = False
    scale: float = 1.0

    def canvas(self, canvas_hw: tuple[int, int]) -> tuple[int, int]:
        """A canvas of the bundle at the view's scale, each side up to the next whole stride."""
        if self.scale == 1:
            return canvas_hw
        height, width = (int(-(-side * self.scale // _STRIDE_PX)) * _STRIDE_PX for side in canvas_hw)
        return height, width


PLAIN = View()


def views_of(tta: tuple[Augmentation, ...]) -> tuple[View, ...]:
    """Every scale asked for, each mirrored too if asked for; the plain view comes first."""
    scales = (1.0, *_SCALES) if "scale" in tta else (1.0,)
    sides = (False, True) if "flip" in tta else (False,)
    return tuple(View(is_mirrored, scale) for scale in scales for is_mirrored in sides)


def mirrored(boxes_xyxy: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Boxes (D, 4) in an image that wide -> where they lie in its mirror image, and back."""
    x1, y1, x2, y2 = boxes_xyxy.T
    return np.stack([width - x2, y1, width - x1, y2], 1).astype(np.float32)
