"""Random views of a sample for training. Everything random comes from the generator handed in."""

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


def random_resize(sample: Sample, rng: np.random.Generator, hw: tuple[int, int], jitter: float) -> Sample:
    """The whole image fitted to hw, then enlarged or shrunk by up to jitter around a random point."""
    height, width = sample.image.shape[:2]
    zoom = rng.uniform(1 - jitter, 1 + jitter)
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
        renumber = np.zeros(len(kept) + 1, np.uint16)
        renumber[1:][kept] = np.arange(1, kept.sum() + 1)
        instances = renumber[warped]
    return Sample(image, boxes[kept].astype(np.float32), sample.labels[kept], instances)
