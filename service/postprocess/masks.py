"""
28 x 28 mask probabilities -> RLE, polygons or PNG, each from the box's own crop.

The whole image is never allocated: a mask costs what its box covers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.detections import Mask, MaskFormat, PngMask, PolygonMask, RleMask


@dataclass(frozen=True)
class Crop:
    """A binary mask's own rectangle in an image, clipped to it; pixels may be (0, 0) in size."""

    pixels: NDArray[np.bool_]  # (h, w)
    origin_xy: tuple[int, int]
    image_hw: tuple[int, int]


def paste(probabilities: NDArray[np.float32], box_xyxy: NDArray[np.float32], image_hw: tuple[int, int]) -> Crop:
    """Probabilities (S, S) over box_xyxy in image pixels -> the pixels above one half, as torchvision pastes them."""
    side = probabilities.shape[0]
    padded = np.pad(probabilities, 1)
    centre, half = (box_xyxy[:2] + box_xyxy[2:]) * 0.5, (box_xyxy[2:] - box_xyxy[:2]) * 0.5 * (side + 2) / side
    x0, y0 = (int(v) for v in centre - half)
    x1, y1 = (int(v) for v in centre + half)
    width, height = max(x1 - x0 + 1, 1), max(y1 - y0 + 1, 1)
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x0 + width, image_hw[1]), min(y0 + height, image_hw[0])
    resized = cv2.resize(padded, (width, height), interpolation=cv2.INTER_LINEAR)
    pixels = resized[top - y0 : max(bottom - y0, 0), left - x0 : max(right - x0, 0)] > 0.5
    return Crop(pixels, (left, top), image_hw)


def to_rle(crop: Crop) -> RleMask:
    """COCO compressed run lengths of the crop as it lies in its image."""
    height, width = crop.image_hw
    columns = np.pad(crop.pixels.T, ((0, 0), (1, 1))).astype(np.int8)  # a zero above and below every column
    column, row = np.nonzero(np.diff(columns, axis=1))
    edges = (column + crop.origin_xy[0]) * height + row + crop.origin_xy[1]  # run starts and ends, alternating
    if crop.pixels.shape[0] == height:  # a run may go on from the foot of one column to the head of the next
        edges = _drop_pairs(edges)
    counts = np.diff(edges, prepend=0, append=height * width)
    return RleMask((height, width), _compress(counts))


def _drop_pairs(edges: NDArray[np.intp]) -> NDArray[np.intp]:
    """Without the edges where one run ends and the next begins at the same pixel."""
    joined = np.flatnonzero(edges[1:-1:2] == edges[2::2]) * 2 + 1
    return np.delete(edges, np.concatenate([joined, joined + 1]))


def _compress(counts: NDArray[np.intp]) -> str:
    """COCO's variable-length code: each count less the one before last, in 5-bit groups, low first, as characters."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    groups, more = [], np.ones(len(values), bool)
    while more.any():
        low, values = values & 0x1F, values >> 5
        goes_on = more & np.where(low & 0x10, values != -1, values != 0)
        groups.append(np.where(more, low + 0x20 * goes_on + 48, 0))
        more = goes_on
    flat = np.stack(groups, 1).ravel()
    return flat[flat > 0].astype(np.uint8).tobytes().decode("ascii")


def to_polygon(crop: Crop) -> PolygonMask:
    """Outer rings of the crop's parts in image pixels; parts under three points have no ring."""
    contours, _ = cv2.findContours(
        crop.pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=crop.origin_xy
    )
    rings = (contour.reshape(-1) for contour in contours if len(contour) >= 3)
    return PolygonMask(tuple(tuple(float(v) for v in ring) for ring in rings))


def to_png(crop: Crop) -> PngMask:
    """The crop alone as a black and white PNG."""
    pixels = crop.pixels if crop.pixels.size else np.zeros((1, 1), bool)
    _, encoded = cv2.imencode(".png", pixels.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    return PngMask(crop.origin_xy, encoded.tobytes())


ENCODERS: dict[MaskFormat, Callable[[Crop], Mask]] = {"rle": to_rle, "polygon": to_polygon, "png": to_png}
