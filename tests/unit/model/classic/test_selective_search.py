"""Selective search: the similarities and the merging equal a plain reading of the paper, and objects are found."""

import cv2
import numpy as np
import pytest

from model.classic.proposals.colour_spaces import COLOUR_SPACES, in_colour_space
from model.classic.proposals.grouping import group
from model.classic.proposals.regions import Regions, derivatives, first_regions
from model.classic.proposals.selective_search import MODES, selective_search


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A dark disc and a bright box on grey, with a little noise: (96, 128, 3)."""
    rng = np.random.default_rng(0)
    image = np.full((96, 128, 3), 150, np.uint8)
    cv2.circle(image, (36, 48), 20, (40, 60, 160), -1)
    cv2.rectangle(image, (76, 20), (115, 69), (220, 200, 60), -1)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def plain_similarity(
    a: set[tuple[int, int]], b: set[tuple[int, int]], image: np.ndarray, slopes: np.ndarray, measures: str
) -> float:
    """Equations 1 to 6 of the paper, from the pixels of two regions."""
    total = 0.0
    for letter, channels, bins in (("C", image, 25), ("T", slopes, 10)):
        if letter not in measures:
            continue
        histograms = []
        for pixels in (a, b):
            counts = np.zeros(channels.shape[2] * bins)
            for y, x in pixels:
                for channel in range(channels.shape[2]):
                    counts[channel * bins + min(int(channels[y, x, channel] * bins), bins - 1)] += 1
            histograms.append(counts / counts.sum())
        total += sum(min(p, q) for p, q in zip(*histograms, strict=True))
    pixels_in_all = image.shape[0] * image.shape[1]
    if "S" in measures:
        total += 1 - (len(a) + len(b)) / pixels_in_all
    if "F" in measures:
        ys, xs = zip(*(a | b), strict=True)
        around = (max(ys) - min(ys) + 1) * (max(xs) - min(xs) + 1)
        total += 1 - (around - len(a) - len(b)) / pixels_in_all
    return total


def plain_grouping(labels: np.ndarray, image: np.ndarray, slopes: np.ndarray, measures: str) -> list[list[int]]:
    """Algorithm 1 with sets of pixels: boxes of all regions met, last first."""
    height, width = labels.shape
    regions = [
        {(y, x) for y in range(height) for x in range(width) if labels[y, x] == n} for n in range(labels.max() + 1)
    ]
    alive = set(range(len(regions)))

    def touch(a: set[tuple[int, int]], b: set[tuple[int, int]]) -> bool:
        return any((y + dy, x + dx) in b for y, x in a for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)))

    while len(alive) > 1:
        pairs = [(i, j) for i in alive for j in alive if i < j and touch(regions[i], regions[j])]
        i, j = max(
            pairs, key=lambda pair: plain_similarity(regions[pair[0]], regions[pair[1]], image, slopes, measures)
        )
        regions.append(regions[i] | regions[j])
        alive = (alive - {i, j}) | {len(regions) - 1}
    boxes = []
    for region in reversed(regions):
        ys, xs = zip(*region, strict=True)
        boxes.append([min(xs), min(ys), max(xs) + 1, max(ys) + 1])
    return boxes


@pytest.mark.parametrize("measures", ["CTSF", "TSF", "F", "S"])
def test_grouping_equals_the_algorithm_on_sets_of_pixels(picture: np.ndarray, measures: str) -> None:
    """Merged histograms and sizes are those that counting all the pixels again gives, whatever is summed."""
    from skimage.segmentation import felzenszwalb

    image = in_colour_space(cv2.resize(picture, (32, 24), interpolation=cv2.INTER_AREA), "Lab")
    labels = felzenszwalb(image, scale=8, sigma=0.8, min_size=8, channel_axis=-1)
    assert labels.max() > 4
    found = group(first_regions(image, 8), measures)
    assert found.tolist() == plain_grouping(labels, image, derivatives(image), measures)


def test_histograms_sum_to_one_and_regions_tile_the_image(picture: np.ndarray) -> None:
    """75 colour and 240 texture bins for three channels, as the paper counts them."""
    regions: Regions = first_regions(in_colour_space(picture, "HSV"), 50)
    assert regions.colour.shape[1] == 75 and regions.texture.shape[1] == 240
    assert np.allclose(regions.colour.sum(1), 1) and np.allclose(regions.texture.sum(1), 1)
    assert regions.sizes.sum() == regions.pixels == 96 * 128


def test_derivatives_point_in_eight_directions() -> None:
    """A slope to the right is steepest at 0 degrees, less at 45, nothing from 90 to 270."""
    ramp = np.tile(np.linspace(0, 1, 40), (40, 1))[..., None]
    middle = derivatives(ramp)[20, 20]
    assert middle.argmax() == 0 and middle[2:7].max() < 1e-6 and middle[1] > 0.5


@pytest.mark.parametrize("name", COLOUR_SPACES)
def test_colour_spaces_stay_between_nothing_and_one(name: str) -> None:
    """Whatever the colours are, black, white and all corners of the cube included."""
    corners = np.array([[(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]] * 3, np.uint8)
    values = in_colour_space(corners, name)
    assert values.shape[:2] == (3, 8) and values.min() >= 0 and values.max() <= 1 and np.isfinite(values).all()


def test_modes_run_as_many_groupings_as_the_paper_says() -> None:
    """Table 5: 1, 8 and 80."""
    counts = {name: len(m.colour_spaces) * len(m.measures) * len(m.scales) for name, m in MODES.items()}
    assert counts == {"single": 1, "fast": 8, "quality": 80}


def test_objects_are_among_the_proposals_and_no_box_comes_twice(picture: np.ndarray) -> None:
    """The disc and the box within two pixels; the same seed gives the same order, another one another."""
    boxes = selective_search(picture, "fast", smallest_px=8)
    for truth in ([16, 28, 57, 69], [76, 20, 116, 70]):
        assert np.abs(boxes - truth).max(axis=1).min() <= 2
    assert boxes.dtype == np.float32 and len(np.unique(boxes, axis=0)) == len(boxes)
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 8
    assert np.array_equal(boxes, selective_search(picture, "fast", smallest_px=8))
    assert not np.array_equal(boxes, selective_search(picture, "fast", smallest_px=8, seed=1))
    assert np.array_equal(selective_search(picture, "fast", most=5, smallest_px=8), boxes[:5])


def test_an_image_of_one_colour_is_one_region() -> None:
    """Nothing to merge: the whole image alone."""
    assert selective_search(np.full((20, 30, 3), 9, np.uint8), "fast").tolist() == [[0, 0, 30, 20]]
