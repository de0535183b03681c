"""What the four systems have in common once trained: an image, and regions where they need them, in; objects out."""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's detectors take them
MEAN_RGB = tuple(round(255 * value) for value in _MEAN)


class Found(NamedTuple):
    """Objects of one image, best score first."""

    boxes_xyxy: NDArray[np.float32]  # (D, 4) pixels, within the image
    scores: NDArray[np.float32]  # (D,) higher is better; comparable within one detector alone
    labels: NDArray[np.int64]  # (D,) 1 is the first class


class Detect(Protocol):
    """image_rgb uint8 (H, W, 3); proposals_xyxy (N, 4) in its pixels, left out where the system makes its own."""

    def __call__(self, image_rgb: NDArray[np.uint8], proposals_xyxy: NDArray[np.float32] | None = None) -> Found: ...


def normalised(images_rgb: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 on device, mean 0 and deviation 1 on ImageNet."""
    pixels = torch.from_numpy(np.ascontiguousarray(images_rgb)).to(device).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
    return (pixels - mean) / std


def best_of_each_class(
    boxes: Tensor, scores: Tensor, size_hw: tuple[int, int], *, least_score: float, nms_iou: float, most: int
) -> Found:
    """
    boxes (R, K, 4) and scores (R, K) of R regions for K classes -> at most `most` objects.

    Clipped to the image; greedy NMS for each class by itself.
    """
    height, width = size_hw
    limits = boxes.new_tensor([width, height, width, height])
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    region, label = torch.nonzero(scores > least_score, as_tuple=True)
    chosen, kept = boxes[region, label], scores[region, label]
    order = batched_nms(chosen, kept, label, nms_iou)[:most]
    return Found(
        chosen[order].cpu().numpy().astype(np.float32),
        kept[order].cpu().numpy().astype(np.float32),
        (label[order] + 1).cpu().numpy().astype(np.int64),
    )
