"""The images two answers disagree on most, drawn side by side, small enough to lie inside a page."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.judge.side_by_side import Compared
from service.detections import Detections
from service.images import Limits, decode
from service.pairing import Pairing

MOST_IMAGES = 8
AGREED_RGB, DIFFERS_RGB, ALONE_RGB = (40, 190, 90), (250, 170, 20), (235, 60, 50)
_HEIGHT_PX, _GAP_PX = 360, 8
LIMITS = Limits(max_bytes=50_000_000, max_pixels=50_000_000)


@dataclass(frozen=True)
class Exhibit:
    """One image twice, old answer left and new answer right, as a data URI."""

    title: str
    uri: str


def worst(compared: Sequence[Compared]) -> Iterator[Exhibit]:
    """Most disagreement first; only images where there is any."""
    for each in sorted(compared, key=lambda each: -each.pairing.disagreement)[:MOST_IMAGES]:
        if each.pairing.outcome == "agree":
            return
        image = decode(each.image.read_bytes(), LIMITS)
        yield exhibit(each.image.name, image, each.old.detections, each.new.detections, each.pairing)


def exhibit(name: str, image: NDArray[np.uint8], old: Detections, new: Detections, pairing: Pairing) -> Exhibit:
    """image: (H, W, 3) RGB uint8, in whose pixels both answers' boxes are."""
    told = ", ".join(f"{count} {kind}" for kind, count in pairing.objects.items() if count)
    left = {match.stable: match.outcome == "agree" for match in pairing.matches}
    right = {match.candidate: match.outcome == "agree" for match in pairing.matches}
    here = _drawn(image, old, left, set(pairing.missed))
    there = _drawn(image, new, right, set(pairing.extra))
    gap = np.full((here.shape[0], _GAP_PX, 3), 128, np.uint8)
    return Exhibit(f"{name}: {told}", _data_uri(np.hstack([here, gap, there])))


def _drawn(image: NDArray[np.uint8], found: Detections, agrees: dict[int, bool], alone: set[int]) -> NDArray[np.uint8]:
    """What agrees thin; what differs, or was seen by this side alone, bold. Forgiven objects are not drawn."""
    scale = _HEIGHT_PX / image.shape[0]
    size_wh = (max(1, round(image.shape[1] * scale)), _HEIGHT_PX)
    picture = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    for index, box in enumerate(found.boxes_xyxy):
        if index not in agrees and index not in alone:
            continue
        colour = ALONE_RGB if index in alone else AGREED_RGB if agrees[index] else DIFFERS_RGB
        x1, y1, x2, y2 = (round(float(v) * scale) for v in box)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 1 if colour == AGREED_RGB else 2, cv2.LINE_AA)
    return picture


def _data_uri(picture: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
