"""
28 x 28 mask probabilities -> RLE, polygons or PNG, each from the box's own crop, or as they are.

The whole image is never allocated: a mask costs what its box covers.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from service.detections import Mask, MaskFormat, PngMask, PolygonMask, RawMask, RleMask
from service.errors import AnswerTooLarge
from service.postprocess.crop import Crop, paste
from service.postprocess.rle import to_rles

_MOST_CROPPED_PX = 1 << 20  # held at once while run lengths are sought: enough to amortise numpy's calls, and 1 MB


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
    for mask in _encoded(mask_format, probabilities, boxes_xyxy, image_hw):
        weight_bytes += encoded_bytes(mask)
        if weight_bytes > max_bytes:
            raise AnswerTooLarge(
                f"masks: the first {len(masks) + 1} of {len(boxes_xyxy)} {mask_format} masks weigh more than "
                f"{max_bytes} bytes, the most sent for an image. Ask for fewer (max_detections, score_threshold, "
                "classes), for another format (rle is the smallest of most masks), or for none."
            )
        masks.append(mask)
    return tuple(masks)


def _encoded(
    mask_format: MaskFormat,
    probabilities: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    image_hw: tuple[int, int],
) -> Iterator[Mask]:
    if mask_format == "raw":
        yield from map(to_raw, probabilities)
    elif mask_format == "rle":
        for crops in _in_portions(paste(probabilities, boxes_xyxy, image_hw)):
            yield from to_rles(crops)
    else:
        yield from map({"polygon": to_polygon, "png": to_png}[mask_format], paste(probabilities, boxes_xyxy, image_hw))


def _in_portions(crops: Iterator[Crop]) -> Iterator[list[Crop]]:
    """Lists of crops that cover _MOST_CROPPED_PX together, or one that covers more."""
    portion, pixels = list[Crop](), 0
    for crop in crops:
        portion.append(crop)
        pixels += crop.pixels.size
        if pixels >= _MOST_CROPPED_PX:
            yield portion
            portion, pixels = [], 0
    if portion:
        yield portion
