"""The worst images of an evaluation, drawn with truth and detections, small enough to lie inside a page."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.evaluate import Evaluation
from model.operating_point import ImageMatch

MOST_IMAGES = 12
_LONGEST_PX, _JPEG_QUALITY = 640, 82
RIGHT_RGB, WRONG_RGB, CONFUSED_RGB, MISSED_RGB = (40, 190, 90), (235, 60, 50), (250, 170, 20), (60, 150, 255)


@dataclass(frozen=True)
class Exhibit:
    """One image: what went wrong in numbers, and the picture as a data URI."""

    file_name: str
    f1: float
    right: int
    false: int
    confused: int
    missed: int
    uri: str


def worst(evaluation: Evaluation) -> Iterator[Exhibit]:
    """Lowest F1 at the operating threshold first; at most MOST_IMAGES, only images with an error."""
    order = sorted(range(len(evaluation.images)), key=lambda index: evaluation.images[index].f1)
    for index in order[:MOST_IMAGES]:
        match = evaluation.images[index]
        if match.f1 == 1:
            return
        image = evaluation.data.images[index]
        sample = evaluation.data.load(image, masks=False)
        right, counted = int(match.right.sum()), match.pair != -2
        false = int((match.pair == -1).sum())
        yield Exhibit(
            file_name=str(image["file_name"]),
            f1=match.f1,
            right=right,
            false=false,
            confused=int(counted.sum()) - right - false,
            missed=int(match.missed.sum()),
            uri=_data_uri(_drawn(sample.image, match, evaluation.data.labels)),
        )


def _drawn(image: NDArray[np.uint8], match: ImageMatch, labels: tuple[str, ...]) -> NDArray[np.uint8]:
    """The image at _LONGEST_PX: right boxes thin, errors bold and named."""
    scale = _LONGEST_PX / max(image.shape[:2])
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image, size_wh, interpolation=shrink).astype(np.uint8, copy=False)
    for box in match.boxes_xyxy[match.right]:
        _box(picture, box * scale, RIGHT_RGB, 1, "")
    for index in np.flatnonzero(match.missed):
        _box(picture, match.truth_xyxy[index] * scale, MISSED_RGB, 2, _name(labels, match.truth_class[index]))
    for index in np.flatnonzero(~match.right & (match.pair != -2)):
        name, truth = _name(labels, match.class_index[index]), match.pair[index]
        colour = WRONG_RGB if truth < 0 else CONFUSED_RGB
        words = f"{name}{match.scores[index]:.2f}" + (f", is {labels[match.truth_class[truth]]}" if truth >= 0 else "")
        _box(picture, match.boxes_xyxy[index] * scale, colour, 2, words)
    return picture


def _name(labels: tuple[str, ...], index: int) -> str:
    return f"{labels[index]} " if len(labels) > 1 else ""


def _box(
    picture: NDArray[np.uint8], box_xyxy: NDArray[np.float32], colour: tuple[int, int, int], px: int, words: str
) -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in box_xyxy)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, px, cv2.LINE_AA)
    if words:
        where = (x1, y1 - 4 if y1 > 14 else y2 + 12)
        cv2.putText(picture, words.strip(), where, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, words.strip(), where, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)


def _data_uri(picture: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
