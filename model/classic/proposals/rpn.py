"""Proposals of a trained region proposal network (Ren et al. 2015), over one level or a pyramid."""

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from model.classic.proposals.make import Propose


def rpn_proposer(model: FasterRCNN) -> Propose:
    """The RPN of model as a function of the image: as many boxes as the model keeps after NMS, highest score first."""
    model.eval()

    @torch.inference_mode()
    def propose(image_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.ascontiguousarray(image_rgb)).permute(2, 0, 1).float() / 255.0
        images, _ = model.transform([pixels.to(next(model.parameters()).device)])
        (boxes,), _ = model.rpn(images, dict(model.backbone(images.tensors)))
        seen_hw, size_hw = images.image_sizes[0], image_rgb.shape[:2]
        scale_xy = boxes.new_tensor([size_hw[1] / seen_hw[1], size_hw[0] / seen_hw[0]])
        found: NDArray[np.float32] = (boxes * scale_xy.repeat(2)).cpu().numpy()
        return found

    return propose
