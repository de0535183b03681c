"""Mask probabilities to run lengths over a 1080p image, one thread: ours beside torchvision's paste and pycocotools."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torchvision.models.detection.roi_heads import paste_masks_in_image

from service.postprocess.masks import encode

IMAGE_HW = (1080, 1920)
SIDES_PX = (40, 160)  # of the boxes, drawn evenly: objects of a crowded picture
IN_A_ROW = 20  # calls of ours a turn: theirs take longer for one than ours for all
_MOST_BYTES = 1 << 30


def measure(rounds: int) -> dict[str, Any]:
    """
    {"seconds": {way: [processor time of a call, one a round]}, "first_s": [the same of ours right after theirs, when
    the processor's caches hold theirs], "equal": all strings agree, "added_mb": by 300 masks}.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    probabilities, boxes = blobs(100)
    added_mb = _added_mb(*blobs(300))
    equal = _ours(probabilities, boxes) == _theirs(probabilities, boxes)
    ours, firsts, theirs = [], [], []
    for _ in range(rounds):
        calls = [_seconds(_ours, probabilities, boxes) for _ in range(IN_A_ROW)]
        ours.append(sum(calls) / IN_A_ROW)
        firsts.append(calls[0])
        theirs.append(_seconds(_theirs, probabilities, boxes))
    seconds = {"ours": ours, "torchvision and pycocotools": theirs}
    return {"seconds": seconds, "first_s": firsts, "equal": equal, "added_mb": added_mb}


def _seconds(run: Callable[..., list[str]], *arguments: NDArray[np.float32]) -> float:
    start = time.process_time()
    run(*arguments)
    return time.process_time() - start


def blobs(count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """count round masks with wavy borders (count, 28, 28) and their boxes (count, 4), seeded."""
    rng = np.random.default_rng(0)
    axis = np.linspace(-1, 1, 28)
    radius = np.hypot(axis[:, None], axis[None])
    waves = np.stack([cv2.GaussianBlur(noise, (7, 7), 3) for noise in rng.uniform(-1, 1, (count, 28, 28))])
    probabilities = 1 / (1 + np.exp(-(6 * (0.8 - radius) + 8 * waves)))
    sides = rng.uniform(*SIDES_PX, (count, 2))
    corners = rng.uniform(0, 1, (count, 2)) * (np.array(IMAGE_HW[::-1]) - sides)
    return probabilities.astype(np.float32), np.concatenate([corners, corners + sides], 1).astype(np.float32)


def _ours(probabilities: NDArray[np.float32], boxes: NDArray[np.float32]) -> list[str]:
    return [mask.counts for mask in encode("rle", probabilities, boxes, IMAGE_HW, _MOST_BYTES)]  # type: ignore[union-attr]


def _theirs(probabilities: NDArray[np.float32], boxes: NDArray[np.float32]) -> list[str]:
    pasted = paste_masks_in_image(torch.from_numpy(probabilities)[:, None], torch.from_numpy(boxes), IMAGE_HW)
    binary = (pasted[:, 0] > 0.5).numpy().astype(np.uint8)
    return [row["counts"].decode() for row in coco.encode(np.asfortranarray(binary.transpose(1, 2, 0)))]


def _added_mb(probabilities: NDArray[np.float32], boxes: NDArray[np.float32]) -> float:
    """How far the process's peak resident memory rises while all masks are encoded. Needs Linux."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (proc(5))
    before = _peak_mb()
    _ours(probabilities, boxes)
    return _peak_mb() - before


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
