"""Binary masks -> COCO's compressed run lengths, many at a time and straight from their crops."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from service.detections import RleMask
from service.postprocess.crop import Crop


def to_rles(crops: Sequence[Crop]) -> list[RleMask]:
    """
    Each crop as it lies in its image: the very strings pycocotools would write for the whole image.

    The crops of one call are of one image. All run starts and ends are found in one pass over all of them.
    """
    if not crops:
        return []
    height, width = crops[0].image_hw
    edges, per_mask = _edges(crops, height)
    counts, per_mask = _counts(edges, per_mask, height * width)
    return [RleMask((height, width), text) for text in _compress(counts, per_mask)]


def _edges(crops: Sequence[Crop], image_h: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Where runs of ones begin and end, alternating, as positions in the image read column by column.

    Those of all crops one after another, and how many each has.
    """
    # 1. Column by column, each with a zero after its foot, so that no run passes from one column to the next.
    heights = np.array([crop.pixels.shape[0] for crop in crops]) + 1
    ends = np.cumsum(heights * [crop.pixels.shape[1] for crop in crops])
    starts = np.concatenate([[0], ends[:-1]])
    flat = np.zeros(ends[-1] + 1, np.uint8)
    for crop, start, end, column_h in zip(crops, starts.tolist(), ends.tolist(), heights.tolist(), strict=True):
        if crop.pixels.size:
            cv2.transpose(crop.pixels.view(np.uint8), dst=flat[1:][start:end].reshape(-1, column_h)[:, :-1])
    # 2. Every change of value is an edge.
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    per_mask = np.diff(np.searchsorted(changes, ends), prepend=0)
    mask = np.repeat(np.arange(len(crops)), per_mask)
    column, row = np.divmod(changes - starts[mask], heights[mask])
    left, top = np.array([crop.origin_xy for crop in crops]).T
    edges = (column + left[mask]) * image_h + row + top[mask]
    # 3. A run that ends where the next begins, at the foot of the image, goes on.
    joined = np.flatnonzero((edges[1:] == edges[:-1]) & (mask[1:] == mask[:-1]))
    kept = np.ones(len(edges), bool)
    kept[joined] = kept[joined + 1] = False
    return edges[kept], np.bincount(mask[kept], minlength=len(crops))


def _counts(
    edges: NDArray[np.int64], per_mask: NDArray[np.int64], image_pixels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths of the runs of zeros and ones in turn, zeros first, of all masks; and how many each mask has."""
    firsts = np.concatenate([[0], np.cumsum(per_mask + 2)[:-1]])
    lasts = firsts + per_mask + 1
    bounds = np.full(lasts[-1] + 1, -1, np.int64)
    bounds[firsts], bounds[lasts] = 0, image_pixels
    bounds[bounds < 0] = edges
    counts = np.diff(bounds)
    # Between two masks lies no run, and neither does one after a mask that reaches the image's last pixel.
    is_run = np.ones(len(counts), bool)
    is_run[lasts[:-1]] = False
    full = (per_mask > 0) & (counts[lasts - 1] == 0)
    is_run[lasts[full] - 1] = False
    return counts[is_run], per_mask + 1 - full


def _compress(counts: NDArray[np.int64], per_mask: NDArray[np.int64]) -> list[str]:
    """
    COCO's variable-length code (cocoapi, common/maskApi.c, rleToString).

    Each count from a mask's fourth on less the one before last, in 5-bit groups, low first, as characters.
    """
    index = np.arange(len(counts)) - np.repeat(np.cumsum(per_mask) - per_mask, per_mask)
    late = np.flatnonzero(index > 2)
    values = counts.astype(np.int32)  # an image has fewer than 2^31 pixels
    values[late] -= counts[late - 2].astype(np.int32)
    groups, more = [], np.ones(len(values), bool)
    while more.any():
        low, values = values & 0x1F, values >> 5
        goes_on = more & np.where(low & 0x10, values != -1, values != 0)
        groups.append(np.where(more, low + 0x20 * goes_on + 48, 0).astype(np.uint8))
        more = goes_on
    characters = np.stack(groups, 1)
    written = characters > 0
    text = characters[written].tobytes().decode("ascii")
    ends = np.concatenate([[0], np.cumsum(written.sum(1))])[np.cumsum(per_mask)].tolist()
    return [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
