"""Proposals for every image of a split, made on the image resized and written in the pixels of its file."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from model.classic.proposals.proposals_file import ImageProposals, Proposals
from model.datasets import CocoSplit

Propose = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # image_rgb (H, W, 3) -> boxes (N, 4) in its pixels


def make_proposals(
    data: CocoSplit, propose: Propose, method: str, shorter_px: int | None, progress: Progress
) -> Proposals:
    """Ask propose about every image, its shorter side resized to shorter_px (None: as it is)."""
    task = progress.add_task(f"proposals of {data.split}", total=len(data.images))
    found = {}
    for image in data.images:
        found[str(image["file_name"])] = _of_image(data, image, propose, shorter_px)
        progress.update(task, advance=1)
    return Proposals(method, found)


def _of_image(data: CocoSplit, image: dict[str, Any], propose: Propose, shorter_px: int | None) -> ImageProposals:
    pixels = data.load(image, masks=False).image
    size_hw = (pixels.shape[0], pixels.shape[1])
    seen = resized(pixels, shorter_px) if shorter_px else pixels
    boxes = ImageProposals((seen.shape[0], seen.shape[1]), propose(seen)).at_size(size_hw)
    return ImageProposals(size_hw, np.minimum(boxes, np.tile(np.array(size_hw[::-1], np.float32), 2)))


def resized(image_rgb: NDArray[np.uint8], shorter_px: int) -> NDArray[np.uint8]:
    """image_rgb (H, W, 3) with its shorter side made shorter_px, its shape kept."""
    scale = shorter_px / min(image_rgb.shape[:2])
    size_wh = (max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale)))
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image_rgb, size_wh, interpolation=shrink).astype(np.uint8, copy=False)


def truths_of(data: CocoSplit) -> list[NDArray[np.float32]]:
    """Boxes (D, 4) xyxy of every image's objects, crowd regions left out, in data's order."""
    found = []
    for image in data.images:
        rows = [row["bbox"] for row in data.annotations[image["id"]] if not row["iscrowd"]]
        boxes = np.array(rows, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found.append(boxes)
    return found
