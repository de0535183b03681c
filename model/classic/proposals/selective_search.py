"""
Selective search (Uijlings, van de Sande, Gevers, Smeulders 2013, "Selective Search for Object Recognition", IJCV 104).

Written here over scikit-image's segmentation: OpenCV's own is in opencv-contrib alone, which installs the same `cv2`
package as the opencv-python-headless the service runs on, and the packages of this name on PyPI are no longer kept.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from model.classic.proposals.colour_spaces import in_colour_space
from model.classic.proposals.grouping import group
from model.classic.proposals.regions import first_regions


@dataclass(frozen=True)
class Diversity:
    """Which groupings are run: every colour space with every first segmentation and every sum of measures."""

    colour_spaces: tuple[str, ...]
    measures: tuple[str, ...]
    scales: tuple[float, ...]  # k of the first segmentation


# Table 5 of the paper.
MODES = {
    "single": Diversity(("HSV",), ("CTSF",), (100,)),
    "fast": Diversity(("HSV", "Lab"), ("CTSF", "TSF"), (50, 100)),
    "quality": Diversity(("HSV", "Lab", "rgI", "H", "I"), ("CTSF", "TSF", "F", "S"), (50, 100, 150, 300)),
}


def selective_search(
    image_rgb: NDArray[np.uint8], mode: str = "fast", *, most: int = 2000, smallest_px: float = 0.0, seed: int = 0
) -> NDArray[np.float32]:
    """
    Boxes (N, 4) xyxy in pixels, at most `most`, likeliest first, none twice, no side shorter than smallest_px.

    The order is that of section 4: position in its hierarchy (the whole image is 1) times a random number in [0, 1);
    of equal boxes the best placed stays. Raises KeyError for a mode that MODES lacks.
    """
    diversity, rng = MODES[mode], np.random.default_rng(seed)
    found, ranks = [], []
    for space, scale in product(diversity.colour_spaces, diversity.scales):
        regions = first_regions(in_colour_space(image_rgb, space), scale)
        for measures in diversity.measures:
            boxes = group(regions, measures)
            found.append(boxes)
            ranks.append(np.arange(1, len(boxes) + 1) * rng.random(len(boxes)))
    boxes_xyxy = np.concatenate(found)[np.argsort(np.concatenate(ranks), kind="stable")]
    _, places = np.unique(boxes_xyxy, axis=0, return_index=True)
    ordered = boxes_xyxy[np.sort(places)]
    large = (ordered[:, 2:] - ordered[:, :2]).min(axis=1) >= smallest_px
    return ordered[large][:most].astype(np.float32)
