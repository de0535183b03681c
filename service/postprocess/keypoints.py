"""Heatmaps over boxes -> the point where each is highest, as torchvision places it."""

import cv2
import numpy as np
from numpy.typing import NDArray


def locate(heatmaps: NDArray[np.float32], boxes_xyxy: NDArray[np.float32], joints: int) -> NDArray[np.float32]:
    """
    Heatmaps (D, J, S, S) of J joints over boxes (D, 4) on the canvas -> (D, J, 3): canvas x, y, height of the peak.

    Each heatmap is enlarged bicubically to its box, rounded up to whole pixels; the centre of the highest pixel is the
    point (Heckbert 1990, "What are the coordinates of a pixel?"), scaled back to the box's own size.
    """
    points = np.zeros((len(boxes_xyxy), joints, 3), np.float32)
    for index, (maps, box) in enumerate(zip(heatmaps, boxes_xyxy, strict=True)):
        side_wh = np.maximum(box[2:] - box[:2], 1)
        width, height = (int(v) for v in np.ceil(side_wh))
        for joint, heatmap in enumerate(maps):
            _, peak, _, (x, y) = cv2.minMaxLoc(cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_CUBIC))
            points[index, joint] = (x + 0.5, y + 0.5, peak)
        points[index, :, :2] = points[index, :, :2] * (side_wh / (width, height)) + box[:2]
    return points
