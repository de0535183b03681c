"""How much two masks have in common, read off their run lengths, many pairs at a time: no image is ever drawn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.detections import RleMask

_MOST_CHARACTERS = 7  # of one number: more than any image has pixels


def mask_ious(ones: Sequence[RleMask], others: Sequence[RleMask]) -> NDArray[np.float64]:
    """
    (N,) of the first with the first, and so on: pixels in both over pixels in either, 0 to 1; 1 for two empty masks.

    All masks are of one image. Raises ValueError where they are not, or where run lengths do not fill it.
    """
    if not ones:
        return np.empty(0)
    if len(sizes_hw := {mask.size_hw for mask in (*ones, *others)}) > 1:
        raise ValueError(f"masks of images of {sorted(sizes_hw)}")
    height, width = ones[0].size_hw
    (ends, is_one), (other_ends, is_other) = _runs(ones), _runs(others)
    edges = np.sort(np.concatenate([ends, other_ends]), kind="stable")
    edges = edges[np.diff(edges, prepend=0) > 0]
    widths = np.diff(edges, prepend=0)
    starts = edges - widths
    inside, other_inside = (
        is_one[ends.searchsorted(starts, "right")],
        is_other[other_ends.searchsorted(starts, "right")],
    )
    pair = starts // (height * width)  # each pair has an image of its own, one after another
    both, either = (
        np.bincount(pair, widths * here, len(ones)) for here in (inside & other_inside, inside | other_inside)
    )
    return np.divide(both, either, out=np.ones(len(ones)), where=either > 0)


def _runs(masks: Sequence[RleMask]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """
    Where each run of each mask ends, in images laid one after another; and whether it is of ones.

    The code is that of cocoapi (common/maskApi.c, rleFrString). Raises ValueError where runs do not fill their image.
    """
    (height, width), per_mask = masks[0].size_hw, np.array([len(mask.counts) for mask in masks])
    # 1. Characters hold five bits of a number, low first, and whether it goes on.
    codes = np.frombuffer("".join(mask.counts for mask in masks).encode("ascii"), np.uint8).astype(np.int64) - 48
    lasts = np.flatnonzero(codes & 0x20 == 0)
    lengths = np.diff(lasts, prepend=-1)
    if not per_mask.all() or not np.isin(np.cumsum(per_mask) - 1, lasts).all() or lengths.max() > _MOST_CHARACTERS:
        raise ValueError(f"run lengths that do not fill an image of {(height, width)}")
    place = np.arange(len(codes)) - np.repeat(lasts - lengths + 1, lengths)
    values = np.add.reduceat((codes & 0x1F) << 5 * place, lasts - lengths + 1)
    values -= (codes[lasts] & 0x10 > 0) << 5 * lengths  # the last one's highest bit is the sign
    # 2. From a mask's fourth on they are differences to the one before last: sums over every other one.
    firsts = np.searchsorted(lasts, np.cumsum(per_mask) - per_mask)
    mask = np.repeat(np.arange(len(masks)), np.diff(firsts, append=len(lasts)))
    index = np.arange(len(lasts)) - firsts[mask]
    chain = 3 * mask + np.where(index == 0, 0, 2 - index % 2)
    order = np.argsort(chain, kind="stable")
    sums = np.cumsum(values[order])
    heads = np.flatnonzero(np.diff(chain[order], prepend=-1))
    counts = np.empty_like(sums)
    counts[order] = sums - np.repeat((sums - values[order])[heads], np.diff(heads, append=len(sums)))
    if (counts < 0).any() or (np.bincount(mask, counts) != height * width).any():
        raise ValueError(f"run lengths that do not fill an image of {(height, width)}")
    return np.cumsum(counts), index % 2 == 1
