"""A sample as it is kept: pixels without metadata, chosen boxes unrecognizable, and the answer without masks."""

import io
import json
import math
import zipfile
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from service.detections import Answer, Detections

IMAGE, ANSWER = "image.png", "answer.json"
_COLOURS_A_SIDE = 4  # what is left of a blurred box: too few for a face, a plate or a name
_MARGIN = 0.05  # of the box's sides, for boxes that sit a little tight


@dataclass(frozen=True)
class Note:
    """Why a sample was kept, and what it can be traced by."""

    taken_at: str  # ISO 8601, UTC
    reasons: tuple[str, ...]
    score_threshold: float
    source: str | None = None
    trace_id: str | None = None
    candidate_outcome: str | None = None
    candidate_found: Detections | None = None


def pack(image: NDArray[np.uint8], answer: Answer, note: Note, blur: Set[str]) -> bytes:
    """
    A ZIP of image.png and answer.json. image: (H, W, 3) RGB, as the answer's boxes count its pixels; not written to.

    Encoded anew from its pixels alone, so that EXIF, profiles, comments and thumbnails stay behind.
    """
    hidden = blurred(image, answer.detections, blur)
    if note.candidate_found is not None:  # what only the candidate has seen is hidden too
        hidden = blurred(hidden, note.candidate_found, blur)
    _, png = cv2.imencode(".png", cv2.cvtColor(hidden, cv2.COLOR_RGB2BGR))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(IMAGE, png.tobytes())
        archive.writestr(ANSWER, json.dumps(_described(answer, note, blur), indent=1))
    return out.getvalue()


def unpack(packed: bytes) -> tuple[bytes, dict[str, Any]]:
    """The PNG and the answer. Raises ValueError if that is no sample."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            described: dict[str, Any] = json.loads(archive.read(ANSWER))
            return archive.read(IMAGE), described
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"no sample: {error}") from error


def blurred(image: NDArray[np.uint8], found: Detections, labels: Set[str]) -> NDArray[np.uint8]:
    """
    The image with the boxes of these labels, and a margin, reduced to a few colours each.

    A Gaussian blur can be undone in part; means over a grid of 4 x 4 cannot: what they averaged is gone.
    """
    boxes_xyxy = [box for box, label in zip(found.boxes_xyxy, found.labels, strict=True) if label in labels]
    if not boxes_xyxy:
        return image
    hidden = image.copy()
    for box_xyxy in boxes_xyxy:
        left, top, right, bottom = _widened(box_xyxy, found.image_hw)
        part = hidden[top:bottom, left:right]
        if part.size:
            grid_wh = min(_COLOURS_A_SIDE, right - left), min(_COLOURS_A_SIDE, bottom - top)
            few = cv2.resize(part, grid_wh, interpolation=cv2.INTER_AREA)
            hidden[top:bottom, left:right] = cv2.resize(few, (right - left, bottom - top))
    return hidden


def _widened(box_xyxy: NDArray[np.float32], image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = box_xyxy.tolist()
    x, y = _MARGIN * (right - left), _MARGIN * (bottom - top)
    height, width = image_hw
    return (
        max(math.floor(left - x), 0),
        max(math.floor(top - y), 0),
        min(math.ceil(right + x), width),
        min(math.ceil(bottom + y), height),
    )


def _described(answer: Answer, note: Note, blur: Set[str]) -> dict[str, Any]:
    found, height_width = answer.detections, answer.detections.image_hw
    return {
        "taken_at": note.taken_at,
        "reasons": note.reasons,
        "model": {"name": answer.model.name, "version": answer.model.version, "digest": answer.model.digest},
        "score_threshold": note.score_threshold,
        "source": note.source,
        "trace_id": note.trace_id,
        "candidate_outcome": note.candidate_outcome,
        "candidate_detections": None if note.candidate_found is None else _rows(note.candidate_found),
        "blurred": sorted(blur),
        "image": {"width": height_width[1], "height": height_width[0]},
        "detections": _rows(found),
    }


def _rows(found: Detections) -> list[dict[str, Any]]:
    rows = zip(found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels, found.label_ids.tolist(), strict=True)
    return [{"box": b, "score": s, "label": name, "label_id": i} for b, s, name, i in rows]
