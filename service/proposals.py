"""
The regions a Fast R-CNN looks at: those a request names, or windows laid over the whole image.

Windows are boxes of every size and shape the bundle lists, evenly spread so that neighbours overlap (Girshick 2015,
section 5.5, "dense" boxes). RoI pooling rounds corners to cells: of windows it cannot tell apart one is enough, and
ties among them, which engines break in their own ways, do not come up.
"""

import math

import numpy as np
from numpy.typing import NDArray

from service.bundle import Proposals
from service.errors import InvalidOption

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


def windows(spec: Proposals, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes (P, 4) over an area of size_hw, in its pixels, cut at its edges."""
    height, width = size_hw
    found = []
    for side in spec.sides_px:
        for ratio in spec.height_to_width:
            half_h, half_w = side * math.sqrt(ratio) / 2, side / math.sqrt(ratio) / 2
            rows, columns = (max(1, math.ceil(extent / (side * spec.step))) for extent in size_hw)
            y, x = (np.arange(rows) + 0.5) * height / rows, (np.arange(columns) + 0.5) * width / columns
            centre_y, centre_x = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
            found.append(np.stack([centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h], 1))
    cut = _cut(np.concatenate(found), size_hw)
    _, first = np.unique(np.floor(cut / spec.cell_px + 0.5), axis=0, return_index=True)
    return cut[np.sort(first)]


def regions_on_canvas(
    spec: Proposals | None, sent: tuple[Box, ...], image_hw: tuple[int, int], resized_hw: tuple[int, int]
) -> NDArray[np.float32] | None:
    """
    sent, boxes in the pixels of an image of image_hw, in those of its resized form; windows where none are sent.

    None for a model that makes its own. Raises InvalidOption: not such a model, too many boxes, or one that is no box
    or lies outside the image.
    """
    if spec is None:
        if sent:
            raise InvalidOption("proposals: this model makes its own; only a Fast R-CNN takes them.")
        return None
    if not sent:
        return windows(spec, resized_hw)
    if len(sent) > spec.most:
        raise InvalidOption(f"proposals: {len(sent)} boxes; at most {spec.most} an image are accepted.")
    boxes = np.array(sent, np.float64)
    ratio_yx = np.array(resized_hw) / np.array(image_hw)
    cut = _cut(boxes * np.tile(ratio_yx[::-1], 2), resized_hw)
    sound = np.isfinite(boxes).all(1) & (cut[:, 2:] > cut[:, :2]).all(1)
    if not sound.all():
        index = int(np.argmin(sound))
        raise InvalidOption(
            f"proposals: box {index} is {list(sent[index])}; expected x1 < x2 and y1 < y2, at least partly in the "
            f"image of {image_hw[1]} x {image_hw[0]} pixels."
        )
    return cut


def padded(regions: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Regions (P, 4) of every image of a batch -> (N, most P, 4), the rest boxes without area, which find nothing."""
    stacked = np.zeros((len(regions), max(len(boxes) for boxes in regions), 4), np.float32)
    for row, boxes in zip(stacked, regions, strict=True):
        row[: len(boxes)] = boxes
    return stacked


def _cut(boxes: NDArray[np.float64], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    height, width = size_hw
    return np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
