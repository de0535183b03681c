"""Random views of a sample for training. Everything random comes from the generator handed in."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from model.datasets import Sample


def random_crop(sample: Sample, rng: np.random.Generator, size_px: int, scale_range: tuple[float, float]) -> Sample:
    """A size_px square cut at random from the image enlarged by a random factor; empty rims are black."""
    scale = float(np.exp(rng.uniform(*np.log(scale_range))))
    height, width = sample.image.shape[:2]
    window = size_px / scale
    x0 = rng.uniform(min(0.0, width - window), max(0.0, width - window))
    y0 = rng.uniform(min(0.0, height - window), max(0.0, height - window))
    matrix = np.array([[scale, 0, -x0 * scale], [0, scale, -y0 * scale]], np.float32)
    return _warp(sample, matrix, (size_px, size_px))


def random_resize(
    sample: Sample, rng: np.random.Generator, hw: tuple[int, int], zoom_range: tuple[float, float]
) -> Sample:
    """The whole image fitted to hw, then zoomed by a random factor around a random point; empty rims are black."""
    height, width = sample.image.shape[:2]
    zoom = rng.uniform(*zoom_range)
    scale = min(hw[0] / height, hw[1] / width) * zoom
    slack_x, slack_y = hw[1] - width * scale, hw[0] - height * scale
    shift_x = rng.uniform(min(0.0, slack_x), max(0.0, slack_x))
    shift_y = rng.uniform(min(0.0, slack_y), max(0.0, slack_y))
    return _warp(sample, np.array([[scale, 0, shift_x], [0, scale, shift_y]], np.float32), hw)


def random_flip_and_turn(sample: Sample, rng: np.random.Generator, *, quarter_turns: bool) -> Sample:
    """Mirror left-right and up-down with probability one half each; turn by a random quarter if the view is square."""
    image, boxes, instances = sample.image, sample.boxes_xyxy, sample.instances
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        image, instances = image[:, ::-1], None if instances is None else instances[:, ::-1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    if rng.random() < 0.5:
        image, instances = image[::-1], None if instances is None else instances[::-1]
        boxes = np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1)
    if quarter_turns and rng.random() < 0.5:
        image, instances = image.transpose(1, 0, 2), None if instances is None else instances.T
        boxes = boxes[:, [1, 0, 3, 2]]
    return replace(sample, image=image, boxes_xyxy=boxes, instances=instances)


def random_light(sample: Sample, rng: np.random.Generator, *, inversion: float) -> Sample:
    """Brightness and contrast moved by up to a fifth; inverted with the given probability (stain against glow)."""
    image = sample.image.astype(np.float32)
    if rng.random() < inversion:
        image = 255.0 - image
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-25.0, 25.0)
    return replace(sample, image=np.clip(image * gain + offset, 0, 255).astype(np.uint8))


def random_channel_gain(sample: Sample, rng: np.random.Generator, *, probability: float) -> Sample:
    """Each colour channel made up to 30 % weaker or stronger by itself: another stain, another white balance."""
    if rng.random() >= probability:
        return sample
    gains = rng.uniform(0.7, 1.3, 3).astype(np.float32)
    return replace(sample, image=np.clip(sample.image * gains, 0, 255).astype(np.uint8))


def mosaic(samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
    """
    A part of each of four samples of equal (H, W) around a random point (Bochkovskiy et al. 2020, YOLOv4).

    The point lies in the middle 40 % of both sides.
    """
    height, width = samples[0].image.shape[:2]
    y, x = (round(rng.uniform(0.3, 0.7) * side) for side in (height, width))
    quadrants = [(0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width)]
    result = _empty_like(samples[0])
    for sample, (top, left, bottom, right) in zip(samples, quadrants, strict=True):
        size_hw = (bottom - top, right - left)
        shift = [-rng.integers(0, whole - part + 1) for whole, part in zip((height, width), size_hw, strict=True)]
        part = _warp(sample, np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float32), size_hw)
        result.image[top:bottom, left:right] = part.image
        if result.instances is not None and part.instances is not None:
            numbers = np.where(part.instances > 0, part.instances + len(result.labels), 0)
            result.instances[top:bottom, left:right] = numbers
        boxes = part.boxes_xyxy + np.array([left, top, left, top], np.float32)
        result = replace(
            result,
            boxes_xyxy=np.concatenate([result.boxes_xyxy, boxes]),
            labels=np.concatenate([result.labels, part.labels]),
        )
    return result


def copy_paste(sample: Sample, donor: Sample, rng: np.random.Generator) -> Sample:
    """
    A random half of donor's objects laid over sample (Ghiasi et al. 2021); both need masks and the same (H, W).

    Objects of sample left with less than a quarter of their pixels go; the boxes of the rest shrink to what is seen.
    """
    assert sample.instances is not None and donor.instances is not None
    chosen = np.flatnonzero(rng.random(len(donor.labels)) < 0.5)
    pasted = np.isin(donor.instances, chosen + 1)
    image = np.where(pasted[..., None], donor.image, sample.image)
    count = len(sample.labels)
    instances = np.where(pasted, donor.instances + count, sample.instances).astype(np.uint16)
    before = np.bincount(sample.instances.ravel(), minlength=count + 1)[1 : count + 1]
    after = np.bincount(instances.ravel(), minlength=count + 1)[1 : count + 1]
    boxes = np.concatenate([sample.boxes_xyxy, donor.boxes_xyxy])
    for index in np.flatnonzero((after < before) & (after > 0)):
        boxes[index] = _extent(instances == index + 1)
    kept = np.zeros(len(boxes), bool)
    kept[:count] = (after > 0) & (after >= 0.25 * before)
    kept[count + chosen] = True
    labels = np.concatenate([sample.labels, donor.labels])
    return Sample(image, boxes[kept], labels[kept], _renumbered(instances, kept))


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The box (x1, y1, x2, y2) around a mask that is not empty."""
    y, x = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1


def _empty_like(sample: Sample) -> Sample:
    instances = None if sample.instances is None else np.zeros_like(sample.instances)
    return Sample(np.zeros_like(sample.image), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), instances)


def _renumbered(instances: NDArray[np.uint16], kept: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Object numbers 1 ... kept.sum() in order, the others background."""
    renumber = np.zeros(len(kept) + 1, np.uint16)
    renumber[1:][kept] = np.arange(1, kept.sum() + 1)
    return renumber[instances]


def _warp(sample: Sample, matrix: NDArray[np.float32], hw: tuple[int, int]) -> Sample:
    """Apply a scale-and-shift matrix (2, 3); objects cut below 4 x 4 px or a quarter of their area go."""
    size_wh = (hw[1], hw[0])
    image = cv2.warpAffine(sample.image, matrix, size_wh, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    boxes = sample.boxes_xyxy * np.tile(matrix[[0, 1], [0, 1]], 2) + np.tile(matrix[:, 2], 2)
    full_area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    boxes = np.clip(boxes, 0, np.tile(np.array(size_wh, np.float32), 2))
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = (sides.min(1, initial=np.inf) >= 4) & (sides.prod(1) >= 0.25 * full_area)
    instances = sample.instances
    if instances is not None:
        warped = cv2.warpAffine(instances, matrix, size_wh, flags=cv2.INTER_NEAREST)
        present = np.isin(np.arange(1, len(kept) + 1), warped)
        kept &= present
        instances = _renumbered(warped.astype(np.uint16, copy=False), kept)
    return Sample(image, boxes[kept].astype(np.float32), sample.labels[kept], instances)
