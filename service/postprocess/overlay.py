"""Detections drawn over their image."""

import cv2
import numpy as np
from numpy.typing import NDArray

from service.detections import Detections, Keypoints, PolygonMask

_PALETTE_RGB = ((230, 57, 70), (42, 157, 143), (69, 123, 157), (244, 162, 97), (131, 56, 236), (255, 190, 11))
_MASK_OPACITY = 0.4
_POINT_RGB = (255, 255, 255)
_SURE_KEYPOINT = 2.0  # logit; the threshold Detectron draws with (detectron/utils/vis.py, kp_thresh)


def draw(image: NDArray[np.uint8], found: Detections) -> NDArray[np.uint8]:
    """A copy of image (H, W, 3) RGB with found's boxes, names, keypoints and polygon masks, no other masks."""
    picture, thickness = image.copy(), max(1, round(max(image.shape[:2]) / 600))
    for index in reversed(range(len(found))):  # best last, on top
        colour = _PALETTE_RGB[(int(found.label_ids[index]) - 1) % len(_PALETTE_RGB)]
        x1, y1, x2, y2 = (round(float(v)) for v in found.boxes_xyxy[index])
        mask = found.masks[index] if found.masks else None
        if isinstance(mask, PolygonMask):
            _fill(picture, mask, colour)
        if found.keypoints is not None:
            _draw_keypoints(picture, found.keypoints, index, thickness)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thickness)
        text = f"{found.labels[index]} {found.scores[index]:.2f}"
        where = (x1, max(y1 - 3, 10))
        cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.35 * thickness, colour, thickness, cv2.LINE_AA)
    return picture


def _fill(picture: NDArray[np.uint8], mask: PolygonMask, colour: tuple[int, int, int]) -> None:
    """Tint the mask's own rectangle of picture in place."""
    rings = [np.array(ring, np.int32).reshape(-1, 2) for ring in mask.rings_xy]
    if not rings:
        return
    x, y, width, height = cv2.boundingRect(np.concatenate(rings))
    crop = picture[y : y + height, x : x + width]
    tinted = cv2.fillPoly(crop.copy(), [ring - (x, y) for ring in rings], colour)
    picture[y : y + height, x : x + width] = cv2.addWeighted(crop, 1 - _MASK_OPACITY, tinted, _MASK_OPACITY, 0)


def _draw_keypoints(picture: NDArray[np.uint8], keypoints: Keypoints, index: int, thickness: int) -> None:
    """Limbs between the points that are sure enough, in place."""
    points, sure = keypoints.points_xys[index, :, :2], keypoints.points_xys[index, :, 2] > _SURE_KEYPOINT
    at = [(round(float(x)), round(float(y))) for x, y in points]
    for number, (start, end) in enumerate(keypoints.skeleton):
        if sure[start] and sure[end]:
            colour = _PALETTE_RGB[number % len(_PALETTE_RGB)]
            cv2.line(picture, at[start], at[end], colour, thickness + 1, cv2.LINE_AA)
    for point in np.flatnonzero(sure):
        cv2.circle(picture, at[point], 2 * thickness, _POINT_RGB, -1, cv2.LINE_AA)


def encode(picture: NDArray[np.uint8], media_type: str) -> bytes:
    """RGB -> the bytes of an image/png or image/jpeg."""
    suffix = {"image/png": ".png", "image/jpeg": ".jpg"}[media_type]
    _, encoded = cv2.imencode(suffix, picture[:, :, ::-1])
    return encoded.tobytes()
