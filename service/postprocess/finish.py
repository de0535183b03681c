"""The last step of the request path: what was picked, in image pixels -> Detections."""

import numpy as np
from numpy.typing import NDArray

from service.detections import Detections, Keypoints, MaskFormat
from service.postprocess.boxes import Picked
from service.postprocess.masks import encode


def finish(
    picked: Picked,
    probabilities: NDArray[np.float32] | None,
    image_hw: tuple[int, int],
    label_names: tuple[str, ...],
    mask_format: MaskFormat,
    max_mask_bytes: int,
    keypoints: Keypoints | None = None,
) -> Detections:
    """
    picked and keypoints in image pixels, mask probabilities (D, 28, 28) or None.

    Raises AnswerTooLarge if the masks weigh more than max_mask_bytes.
    """
    masks = None
    if probabilities is not None and mask_format != "none":
        masks = encode(mask_format, probabilities, picked.boxes_xyxy, image_hw, max_mask_bytes)
    return Detections(
        image_hw=image_hw,
        boxes_xyxy=picked.boxes_xyxy,
        scores=picked.scores,
        label_ids=picked.label_ids,
        labels=tuple([label_names[label_id - 1] for label_id in picked.label_ids.tolist()]),
        masks=masks,
        keypoints=keypoints,
    )
