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

from service.postprocess.masks import Crop, paste, to_png, to_polygon, to_rle


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
)
def test_rle_is_cocos(pixels: np.ndarray, x: int, y: int, tight: bool) -> None:
    """The counts are the very string pycocotools writes for the same mask, crops of full height included."""
    margin = 0 if tight else 2
    crop = Crop(pixels, (x, y * margin), (pixels.shape[0] + y * margin + margin or 1, pixels.shape[1] + x + 1))
    expected = coco.encode(np.asfortranarray(whole(crop)))["counts"].decode()
    assert to_rle(crop).counts == expected


@pytest.mark.parametrize("seed", range(20))
def test_pasting_is_torchvisions(seed: int) -> None:
    """Pixel for pixel, at image borders too."""
    rng = np.random.default_rng(seed)
    probabilities = cv2.GaussianBlur(rng.uniform(0, 1, (28, 28)).astype(np.float32), (5, 5), 2)
    probabilities = (probabilities - probabilities.min()) / np.ptp(probabilities)
    corner = rng.uniform(-5, 60, 2)
    box = np.concatenate([corner, corner + rng.uniform(0.5, 70, 2)]).clip(0, (99, 79, 99, 79)).astype(np.float32)
    expected = paste_masks_in_image(torch.from_numpy(probabilities)[None, None], torch.from_numpy(box)[None], (80, 100))
    np.testing.assert_array_equal(whole(paste(probabilities, box, (80, 100))), expected[0, 0].numpy() > 0.5)


def test_polygon_and_png_show_the_same_mask() -> None:
    """A filled polygon and an unpacked PNG give the crop back."""
    crop = Crop(cv2.circle(np.zeros((21, 21), np.uint8), (10, 10), 9, 1, -1) > 0, (5, 7), (40, 40))
    ring = np.array(to_polygon(crop).rings_xy[0], np.int32).reshape(-1, 2)
    np.testing.assert_array_equal(cv2.fillPoly(np.zeros((40, 40), np.uint8), [ring], 1), whole(crop))
    png = to_png(crop)
    unpacked = cv2.imdecode(np.frombuffer(png.png, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(unpacked > 0, crop.pixels)
    assert png.origin_xy == (5, 7)


def test_a_hundred_masks_of_a_large_image_allocate_no_large_image() -> None:
    """N x H x W would be 830 MB here; the crops take a few."""
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 1, (100, 28, 28)).astype(np.float32)
    corners = rng.uniform(0, 2000, (100, 2))
    boxes = np.concatenate([corners, corners + 80], 1).astype(np.float32)
    tracemalloc.start()
    for mask, box in zip(probabilities, boxes, strict=True):
        to_rle(paste(mask, box, (2160, 3840)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4_000_000
