"""
28 x 28 mask probabilities -> RLE, polygons or PNG, each from the box's own crop, or as they are.

The whole image is never allocated: a mask costs what its box covers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from service.detections import Mask, MaskFormat, PngMask, PolygonMask, RawMask, RleMask
from service.errors import AnswerTooLarge


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
    """The crop's parts and their holes as rings in image pixels; filling them gives the crop back, pixel by pixel."""
    contours, _ = cv2.findContours(
        crop.pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=crop.origin_xy
    )
    return PolygonMask(tuple(_ring(contour.reshape(-1, 2)) for contour in contours))


def _ring(points_xy: NDArray[Any]) -> tuple[float, ...]:
    """Points (P, 2) flat, of one- and two-pixel parts the last again until there are three: COCO's fewest."""
    filled = np.pad(points_xy, ((0, max(0, 3 - len(points_xy))), (0, 0)), mode="edge")
    return tuple(float(v) for v in filled.ravel())


def to_png(crop: Crop) -> PngMask:
    """The crop alone as a black and white PNG."""
    pixels = crop.pixels if crop.pixels.size else np.zeros((1, 1), bool)
    _, encoded = cv2.imencode(".png", pixels.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    return PngMask(crop.origin_xy, encoded.tobytes())


def to_raw(probabilities: NDArray[np.float32]) -> RawMask:
    """Probabilities (S, S) in 1/255, rounded so that above 127 is what lies above one half."""
    height, width = probabilities.shape
    return RawMask((height, width), np.ceil(probabilities * 255 - 0.5).astype(np.uint8).tobytes())


def encoded_bytes(mask: Mask) -> int:
    """What a mask weighs: its characters or bytes; four bytes a coordinate."""
    if isinstance(mask, RleMask):
        return len(mask.counts)
    if isinstance(mask, PolygonMask):
        return 4 * sum(map(len, mask.rings_xy))
    return len(mask.png) if isinstance(mask, PngMask) else len(mask.probabilities)


def encode(
    mask_format: MaskFormat,
    probabilities: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    image_hw: tuple[int, int],
    max_bytes: int,
) -> tuple[Mask, ...]:
    """
    Probabilities (D, S, S) over boxes (D, 4) in image pixels -> masks in mask_format.

    Raises AnswerTooLarge as soon as they weigh more than max_bytes together.
    """
    masks, weight_bytes = list[Mask](), 0
    for grid, box_xyxy in zip(probabilities, boxes_xyxy, strict=True):
        mask = to_raw(grid) if mask_format == "raw" else ENCODERS[mask_format](paste(grid, box_xyxy, image_hw))
        weight_bytes += encoded_bytes(mask)
        if weight_bytes > max_bytes:
            raise AnswerTooLarge(
                f"masks: the first {len(masks) + 1} of {len(boxes_xyxy)} {mask_format} masks weigh more than "
                f"{max_bytes} bytes, the most sent for an image. Ask for fewer (max_detections, score_threshold, "
                "classes), for another format (rle is the smallest of most masks), or for none."
            )
        masks.append(mask)
    return tuple(masks)


ENCODERS: dict[MaskFormat, Callable[[Crop], Mask]] = {"rle": to_rle, "polygon": to_polygon, "png": to_png}
