"""Proposals of a trained region proposal network (Ren et al. 2015): any that `rcnn train` makes."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import Checkpoint
from model.classic.proposals.make import Propose


def rpn_proposer(checkpoint: Checkpoint, *, most: int = 2000) -> Propose:
    """The RPN of checkpoint as a function of the image: at most `most` boxes after its NMS, highest score first."""
    model = replace(checkpoint, recipe=replace(checkpoint.recipe, proposals=most)).build()

    @torch.inference_mode()
    def propose(image_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.ascontiguousarray(image_rgb)).permute(2, 0, 1).float() / 255.0
        images, _ = model.transform([pixels])
        (boxes,), _ = model.rpn(images, dict(model.backbone(images.tensors)))
        seen_hw, size_hw = images.image_sizes[0], image_rgb.shape[:2]
        scale_xy = boxes.new_tensor([size_hw[1] / seen_hw[1], size_hw[0] / seen_hw[0]])
        found: NDArray[np.float32] = (boxes * scale_xy.repeat(2)).numpy()
        return found

    return propose
