"""One image and its answer as a few numbers whose distributions tell whether the world still looks as it did. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.detections import Detections

OF_IMAGE = ("brightness", "contrast", "sharpness", "image_size", "detections_per_image")
OF_DETECTION = ("score", "class", "box_area", "box_aspect")
SIGNALS = OF_IMAGE + OF_DETECTION

_DECIMALS = 4  # kept: what is written down and read again must fall into the same bin
_SPARSE_PX = 65_536  # looked at for brightness and contrast, spread evenly
_CROP_PX = 256  # side of the centre looked at for sharpness, which thinning out would destroy


@dataclass(frozen=True)
class Observation:
    """
    The values of each signal in one image: one of OF_IMAGE, one a detection of OF_DETECTION. float64 throughout.

    brightness and contrast: mean and deviation of luma, [0, 1]. sharpness: log2(1 + variance of the Laplacian), after
    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000. image_size: log2 of pixels.
    box_area: log2 of the share of the image. box_aspect: log2 of width over height. class: the label's id, from 1.
    """

    values: Mapping[str, NDArray[np.float64]]


def observe(image: NDArray[np.uint8], found: Detections) -> Observation:
    """image: (H, W, 3) uint8 RGB, upright, the one that found is of."""
    height, width = image.shape[:2]
    sides = (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).astype(np.float64).clip(1e-3)
    of_image = {
        **_of_picture(image),
        "image_size": np.log2(height * width),
        "detections_per_image": float(len(found)),
    }
    return Observation(
        {
            **{name: _rounded([value]) for name, value in of_image.items()},
            "score": _rounded(found.scores),
            "class": found.label_ids.astype(np.float64),
            "box_area": _rounded(np.log2(sides.prod(axis=1) / (height * width))),
            "box_aspect": _rounded(np.log2(sides[:, 0] / sides[:, 1])),
        }
    )


def _rounded(values: ArrayLike) -> NDArray[np.float64]:
    return np.round(np.asarray(values, np.float64), _DECIMALS).astype(np.float64)


def _of_picture(image: NDArray[np.uint8]) -> dict[str, float]:
    height, width = image.shape[:2]
    step = max(1, int(np.ceil(np.sqrt(height * width / _SPARSE_PX))))
    luma = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_RGB2GRAY)
    top, left = max(0, (height - _CROP_PX) // 2), max(0, (width - _CROP_PX) // 2)
    crop = np.ascontiguousarray(image[top : top + _CROP_PX, left : left + _CROP_PX])
    edges = cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    return {
        "brightness": float(luma.mean()) / 255,
        "contrast": float(luma.std()) / 255,
        "sharpness": float(np.log2(1 + edges.var())),
    }
