"""The colour spaces of selective search (Uijlings et al. 2013, section 3.2), every channel scaled to [0, 1]."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray, rgb2hsv, rgb2lab

Channels = NDArray[np.float64]  # (H, W, C) in [0, 1]
_LAB_LOW, _LAB_SPAN = np.array([0.0, -128.0, -128.0]), np.array([100.0, 255.0, 255.0])


def _hsv(rgb: Channels) -> Channels:
    return np.asarray(rgb2hsv(rgb))


def _lab(rgb: Channels) -> Channels:
    return np.clip((rgb2lab(rgb) - _LAB_LOW) / _LAB_SPAN, 0, 1)


def _intensity(rgb: Channels) -> Channels:
    return np.asarray(rgb2gray(rgb))[..., None]


def _hue(rgb: Channels) -> Channels:
    return _hsv(rgb)[..., :1]


def _rg_intensity(rgb: Channels) -> Channels:
    """Normalised red and green, and intensity; black has neither colour."""
    total = np.maximum(rgb.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    return np.concatenate([rgb[..., :2] / total, _intensity(rgb)], axis=-1)


COLOUR_SPACES: dict[str, Callable[[Channels], Channels]] = {
    "HSV": _hsv,
    "Lab": _lab,
    "rgI": _rg_intensity,
    "H": _hue,
    "I": _intensity,
}


def in_colour_space(image_rgb: NDArray[np.uint8], name: str) -> Channels:
    """image_rgb (H, W, 3) in the space of COLOUR_SPACES named: (H, W, channels) float64 in [0, 1]."""
    return COLOUR_SPACES[name](image_rgb.astype(np.float64) / 255.0)
