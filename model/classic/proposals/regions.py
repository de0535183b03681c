"""The first regions of selective search and what is known of each (Uijlings et al. 2013, sections 3.1 and 3.2)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.segmentation import felzenszwalb

from model.classic.proposals.colour_spaces import Channels

COLOUR_BINS, TEXTURE_BINS, ORIENTATIONS = 25, 10, 8
_SEGMENT_SIGMA, _TEXTURE_SIGMA = 0.8, 1.0


@dataclass(frozen=True)
class Regions:
    """N regions that tile an image of `pixels` pixels; histograms sum to 1 in each row."""

    colour: NDArray[np.float64]  # (N, channels * 25)
    texture: NDArray[np.float64]  # (N, channels * 8 * 10)
    sizes: NDArray[np.float64]  # (N,) pixels
    boxes_xyxy: NDArray[np.float64]  # (N, 4) pixels, the far edges outside
    neighbours: NDArray[np.int64]  # (pairs, 2) regions that touch, each pair once, the lower first
    pixels: int


def first_regions(image: Channels, scale: float) -> Regions:
    """
    Segment image (H, W, C) in [0, 1] by Felzenszwalb & Huttenlocher 2004 with k = smallest region = scale; describe it.

    Smoothing sigma 0.8, as the authors of selective search set it.
    """
    labels = felzenszwalb(image, scale=scale, sigma=_SEGMENT_SIGMA, min_size=int(scale), channel_axis=-1)
    count = int(labels.max()) + 1
    return Regions(
        colour=_histograms(labels, count, image, COLOUR_BINS),
        texture=_histograms(labels, count, derivatives(image), TEXTURE_BINS),
        sizes=np.bincount(labels.ravel(), minlength=count).astype(np.float64),
        boxes_xyxy=_boxes(labels, count),
        neighbours=_neighbours(labels),
        pixels=labels.size,
    )


def derivatives(image: Channels) -> Channels:
    """
    Gaussian derivatives (sigma 1) in 8 directions 45 degrees apart, each keeping its rise alone: (H, W, C * 8).

    The first derivative is steerable, so two filters give all eight. Each channel is scaled by its steepest rise.
    """
    smooth = (_TEXTURE_SIGMA, _TEXTURE_SIGMA, 0.0)
    down, right = (gaussian_filter(image, smooth, order=order) for order in ((1, 0, 0), (0, 1, 0)))
    angles = np.arange(ORIENTATIONS) * (2 * np.pi / ORIENTATIONS)
    turned = right[..., None] * np.cos(angles) + down[..., None] * np.sin(angles)
    rising = np.maximum(turned, 0)
    steepest = np.maximum(rising.max(axis=(0, 1, 3)), np.finfo(np.float64).tiny)
    return (rising / steepest[:, None]).reshape(*image.shape[:2], -1)


def _histograms(labels: NDArray[np.int64], count: int, channels: Channels, bins: int) -> NDArray[np.float64]:
    """Of every channel in every region, side by side, each row scaled to sum 1: (count, channels * bins)."""
    places = np.minimum((channels * bins).astype(np.int64), bins - 1)
    offsets = labels.astype(np.int64) * bins
    columns = [
        np.bincount((offsets + places[..., channel]).ravel(), minlength=count * bins).reshape(count, bins)
        for channel in range(channels.shape[-1])
    ]
    found = np.concatenate(columns, axis=1).astype(np.float64)
    return found / found.sum(axis=1, keepdims=True)


def _boxes(labels: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    height, width = labels.shape
    y, x = np.divmod(np.arange(labels.size), width)
    flat = labels.ravel()
    low = np.full((count, 2), max(height, width))
    high = np.zeros((count, 2), np.int64)
    for axis, places in enumerate((x, y)):
        np.minimum.at(low[:, axis], flat, places)
        np.maximum.at(high[:, axis], flat, places + 1)
    return np.concatenate([low, high], axis=1).astype(np.float64)


def _neighbours(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Regions with pixels side by side or one above the other."""
    across = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1)
    down = np.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1)
    pairs = np.sort(np.concatenate([across, down]), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).astype(np.int64)
