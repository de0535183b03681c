"""The last step of the request path: what was picked on the canvas -> Detections in image pixels."""

import numpy as np
from numpy.typing import NDArray

from service.detections import Detections, MaskFormat
from service.postprocess.boxes import Picked
from service.postprocess.masks import ENCODERS, paste


def finish(
    picked: Picked,
    boxes_xyxy: NDArray[np.float32],
    probabilities: NDArray[np.float32] | None,
    image_hw: tuple[int, int],
    label_names: tuple[str, ...],
    mask_format: MaskFormat,
) -> Detections:
    """picked with its boxes already in image pixels (D, 4) and mask probabilities (D, 28, 28) or None."""
    masks = None
    if probabilities is not None and mask_format != "none":
        encode = ENCODERS[mask_format]
        masks = tuple(encode(paste(p, b, image_hw)) for p, b in zip(probabilities, boxes_xyxy, strict=True))
    return Detections(
        image_hw=image_hw,
        boxes_xyxy=boxes_xyxy,
        scores=picked.scores,
        label_ids=picked.label_ids,
        labels=tuple(label_names[label_id - 1] for label_id in picked.label_ids),
        masks=masks,
    )
