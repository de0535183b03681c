"""The worst images of an evaluation, drawn with truth and detections, small enough to lie inside a page."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.annotations import decoded
from model.evaluate import Evaluation

MOST_IMAGES = 12
_LONGEST_PX, _JPEG_QUALITY, _FONT = 720, 80, 0.4
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
            uri=_data_uri(_drawn(evaluation, index, sample.image)),
        )


def _drawn(evaluation: Evaluation, index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image at _LONGEST_PX: what is right thin, errors bold and named; outlines where there are masks."""
    scale = _LONGEST_PX / max(image.shape[:2])
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image, size_wh, interpolation=shrink).astype(np.uint8, copy=False)
    marks = sorted(_marks(evaluation, index), key=lambda mark: mark.bold)  # errors on top
    for mark in marks:
        _draw_shape(picture, mark, scale)
    for mark in marks:
        _write(picture, mark, scale)
    return picture


@dataclass(frozen=True)
class _Mark:
    """One detection or one missed truth."""

    box_xyxy: NDArray[np.float32]
    runs: dict[str, Any] | None
    colour: tuple[int, int, int]
    words: str

    @property
    def bold(self) -> bool:
        return self.colour != RIGHT_RGB


def _marks(evaluation: Evaluation, index: int) -> Iterator[_Mark]:
    match, labels, outlines = evaluation.images[index], evaluation.data.labels, evaluation.outlines[index]
    for place, pair in enumerate(match.pair):
        colour = RIGHT_RGB if match.right[place] else WRONG_RGB if pair == -1 else CONFUSED_RGB
        words = "" if match.right[place] else f"{_name(labels, match.class_index[place])}{match.scores[place]:.2f}"
        words += f", is {labels[match.truth_class[pair]]}" if colour == CONFUSED_RGB else ""
        if pair != -2:
            yield _Mark(match.boxes_xyxy[place], outlines[place] if outlines else None, colour, words)
    rows = evaluation.data.annotations[evaluation.data.images[index]["id"]]
    plain = [row for row in rows if not row["iscrowd"]]
    for place in np.flatnonzero(match.missed).tolist():
        runs = plain[place].get("segmentation") if outlines else None
        yield _Mark(match.truth_xyxy[place], runs, MISSED_RGB, _name(labels, match.truth_class[place]))


def _name(labels: tuple[str, ...], index: int) -> str:
    return f"{labels[index]} " if len(labels) > 1 else ""


def _draw_shape(picture: NDArray[np.uint8], mark: _Mark, scale: float) -> None:
    px = 2 if mark.bold else 1
    if mark.runs is None:
        x1, y1, x2, y2 = (round(float(v) * scale) for v in mark.box_xyxy)
        cv2.rectangle(picture, (x1, y1), (x2, y2), mark.colour, px, cv2.LINE_AA)
        return
    mask = decoded(mark.runs).astype(np.uint8)
    rings, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    scaled = [np.round((ring + 0.5) * scale).astype(np.int32) for ring in rings]
    cv2.polylines(picture, scaled, True, mark.colour, px, cv2.LINE_AA)


def _write(picture: NDArray[np.uint8], mark: _Mark, scale: float) -> None:
    """Small words above the box on a ground of the mark's colour, within the picture."""
    words = mark.words.strip()
    if not words:
        return
    (width, height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, _FONT, 1)
    x = max(0, min(round(float(mark.box_xyxy[0]) * scale), picture.shape[1] - width - 2))
    y = max(height + 3, round(float(mark.box_xyxy[1]) * scale) - 2)
    cv2.rectangle(picture, (x, y - height - 2), (x + width + 2, y + 2), mark.colour, -1)
    cv2.putText(picture, words, (x + 1, y), cv2.FONT_HERSHEY_SIMPLEX, _FONT, (255, 255, 255), 1, cv2.LINE_AA)


def _data_uri(picture: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
