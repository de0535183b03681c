"""How much two masks have in common, read off their run lengths: no image is ever drawn."""

import numpy as np
from numpy.typing import NDArray

from service.detections import RleMask


def mask_iou(one: RleMask, other: RleMask) -> float:
    """Pixels in both over pixels in either, 0 to 1; 1 for two empty masks. Raises ValueError if their images differ."""
    if one.size_hw != other.size_hw:
        raise ValueError(f"masks of images of {one.size_hw} and {other.size_hw}")
    ends, other_ends = np.cumsum(run_lengths(one)), np.cumsum(run_lengths(other))
    edges = np.union1d(np.union1d(ends, other_ends), [0])
    widths, starts = np.diff(edges), edges[:-1]
    inside = np.searchsorted(ends, starts, "right") % 2 == 1  # runs are of zeros and ones in turn, zeros first
    other_inside = np.searchsorted(other_ends, starts, "right") % 2 == 1
    either = int(widths[inside | other_inside].sum())
    return int(widths[inside & other_inside].sum()) / either if either else 1.0


def run_lengths(mask: RleMask) -> NDArray[np.int64]:
    """
    Lengths of the runs of zeros and ones in turn, zeros first, column by column.

    The code is that of cocoapi (common/maskApi.c, rleFrString). Raises ValueError where they do not fill the image.
    """
    counts: list[int] = []
    value = shift = 0
    for character in mask.counts.encode("ascii"):
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if sum(counts) != mask.size_hw[0] * mask.size_hw[1] or any(count < 0 for count in counts):
        raise ValueError(f"run lengths that do not fill an image of {mask.size_hw}")
    return np.array(counts, np.int64)
