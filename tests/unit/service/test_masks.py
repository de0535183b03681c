"""Masks from their own crop."""

import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from torchvision.models.detection.roi_heads import paste_masks_in_image

from service.detections import MaskFormat
from service.errors import AnswerTooLarge
from service.postprocess.crop import Crop, paste
from service.postprocess.masks import encode, encoded_bytes, to_png, to_polygon, to_raw
from service.postprocess.rle import to_rles


def whole(crop: Crop) -> np.ndarray:
    """The mask as a full image, for comparing."""
    image = np.zeros(crop.image_hw, np.uint8)
    x, y = crop.origin_xy
    height, width = crop.pixels.shape
    image[y : y + height, x : x + width] = crop.pixels
    return image


@given(
    arrays(np.bool_, st.tuples(st.integers(0, 9), st.integers(0, 9))),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 1),
)
def test_rle_is_cocos(pixels: np.ndarray, x: int, y: int, tight: bool, right: int) -> None:
    """The very string pycocotools writes for the same mask, of crops of full height and at the last column too."""
    margin = 0 if tight else 2
    crop = Crop(pixels, (x, y * margin), (pixels.shape[0] + y * margin + margin or 1, pixels.shape[1] + x + right or 1))
    expected = coco.encode(np.asfortranarray(whole(crop)))["counts"].decode()
    assert to_rles([crop])[0].counts == expected


@pytest.mark.parametrize("seed", range(20))
def test_pasting_is_torchvisions(seed: int) -> None:
    """Pixel for pixel, at image borders too."""
    rng = np.random.default_rng(seed)
    probabilities = cv2.GaussianBlur(rng.uniform(0, 1, (28, 28)).astype(np.float32), (5, 5), 2)
    probabilities = (probabilities - probabilities.min()) / np.ptp(probabilities)
    corner = rng.uniform(-5, 60, 2)
    box = np.concatenate([corner, corner + rng.uniform(0.5, 70, 2)]).clip(0, (99, 79, 99, 79)).astype(np.float32)
    expected = paste_masks_in_image(torch.from_numpy(probabilities)[None, None], torch.from_numpy(box)[None], (80, 100))
    (crop,) = paste(probabilities[None], box[None], (80, 100))
    np.testing.assert_array_equal(whole(crop), expected[0, 0].numpy() > 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_many_masks_at_once_are_pycocotools_of_torchvisions_paste(seed: int) -> None:
    """A crowd of all sizes, some over the image's borders, some covering it whole, some with nothing above one half."""
    rng = np.random.default_rng(seed)
    probabilities = np.stack([cv2.GaussianBlur(g, (9, 9), 3) for g in rng.uniform(0, 1, (60, 28, 28))])
    probabilities = (probabilities / probabilities.max((1, 2), keepdims=True)).astype(np.float32)
    probabilities[::9] *= 0.4
    probabilities[5] = 1
    corners = rng.uniform(0, 150, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 120, (60, 2))], 1).clip(0, (199, 149, 199, 149))
    boxes[5] = 0, 0, 200, 150
    boxes = boxes.astype(np.float32)
    pasted = paste_masks_in_image(torch.from_numpy(probabilities)[:, None], torch.from_numpy(boxes), (150, 200))
    expected = [coco.encode(np.asfortranarray(mask[0].numpy() > 0.5))["counts"].decode() for mask in pasted]
    found = encode("rle", probabilities, boxes, (150, 200), 1_000_000)
    assert [mask.counts for mask in found] == expected


@given(arrays(np.bool_, st.tuples(st.integers(0, 12), st.integers(0, 12))), st.integers(0, 3), st.integers(0, 3))
def test_filled_polygons_are_the_mask(pixels: np.ndarray, x: int, y: int) -> None:
    """Pixel by pixel for any mask: holes, parts in holes, pixels and lines; every ring has COCO's three points."""
    crop = Crop(pixels, (x, y), (pixels.shape[0] + y + 1, pixels.shape[1] + x + 1))
    rings = [np.array(ring, np.int32).reshape(-1, 2) for ring in to_polygon(crop).rings_xy]
    assert all(len(ring) >= 3 for ring in rings)
    filled = cv2.fillPoly(np.zeros(crop.image_hw, np.uint8), rings, 1) if rings else np.zeros(crop.image_hw, np.uint8)
    np.testing.assert_array_equal(filled, whole(crop))


def test_a_hole_runs_against_its_outer_ring() -> None:
    """A ring-shaped mask: two rings of opposite turn, whose signed areas add up to the area between them."""
    disc = cv2.circle(np.zeros((41, 41), np.uint8), (20, 20), 18, 1, -1)
    crop = Crop(cv2.circle(disc, (20, 20), 8, 0, -1) > 0, (5, 7), (60, 60))
    rings = [np.array(ring).reshape(-1, 2) for ring in to_polygon(crop).rings_xy]
    x_y = [(ring[:, 0], ring[:, 1]) for ring in rings]
    areas = sorted(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 for x, y in x_y)
    assert areas[0] < 0 < areas[1]  # y points down, so the outer ring, counter-clockwise on the screen, is negative
    assert -sum(areas) == pytest.approx(crop.pixels.sum(), rel=0.15)


def test_a_png_unpacks_to_the_mask() -> None:
    """The crop, and where it lies."""
    crop = Crop(cv2.circle(np.zeros((21, 21), np.uint8), (10, 10), 9, 1, -1) > 0, (5, 7), (40, 40))
    png = to_png(crop)
    unpacked = cv2.imdecode(np.frombuffer(png.png, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(unpacked > 0, crop.pixels)
    assert png.origin_xy == (5, 7)


@given(arrays(np.float32, (28, 28), elements=st.floats(0, 1, width=32)))
def test_a_raw_mask_keeps_every_probability_on_its_side_of_one_half(probabilities: np.ndarray) -> None:
    """To 1/255, and above 127 exactly where above one half."""
    raw = np.frombuffer(to_raw(probabilities).probabilities, np.uint8).reshape(28, 28)
    np.testing.assert_allclose(raw / 255, probabilities, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(raw > 127, probabilities > 0.5)


@pytest.mark.parametrize(("mask_format", "least_bytes"), [("rle", 30), ("polygon", 100), ("png", 70), ("raw", 784)])
def test_masks_beyond_the_cap_are_refused_with_what_to_change(mask_format: MaskFormat, least_bytes: int) -> None:
    """Ten noisy masks fit a large cap; a cap of one mask is refused at the second, naming options that help."""
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 1, (10, 28, 28)).astype(np.float32)
    boxes = np.tile(np.array([10, 10, 38, 38], np.float32), (10, 1))
    masks = encode(mask_format, probabilities, boxes, (50, 50), 1_000_000)
    one = encoded_bytes(masks[0])
    assert len(masks) == 10 and one >= least_bytes
    assert encode(mask_format, probabilities[:1], boxes[:1], (50, 50), one) == masks[:1]
    with pytest.raises(AnswerTooLarge, match=r"first 2 of 10 .*max_detections, score_threshold"):
        encode(mask_format, probabilities, boxes, (50, 50), one)


def test_a_hundred_masks_of_a_large_image_allocate_no_large_image() -> None:
    """N x H x W would be 830 MB here; the crops take a few."""
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 1, (100, 28, 28)).astype(np.float32)
    corners = rng.uniform(0, 2000, (100, 2))
    boxes = np.concatenate([corners, corners + 80], 1).astype(np.float32)
    tracemalloc.start()
    encode("rle", probabilities, boxes, (2160, 3840), 10_000_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16_000_000  # noise: a run of ones every few pixels, which no mask is
