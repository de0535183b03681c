"""Answers -> JSON-ready values, in each of the formats a request may ask for."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

from service.api.rest.schemas import AnswerFormat
from service.detections import Answer, Detections, Mask, PolygonMask, RawMask, RleMask

Json = dict[str, Any]


def render(answers: Sequence[Answer], format: AnswerFormat, single: bool, request_id: str, image_id: int) -> object:
    """The body of an answer to one image (single) or to several; the images of COCO rows count up from image_id."""
    if format == "coco":
        return [row for index, answer in enumerate(answers) for row in render_coco(answer, image_id + index)]
    if format == "inference":
        predictions = [render_inference(answer) for answer in answers]
        return predictions[0] if single else predictions
    rendered = [render_answer(answer, request_id) for answer in answers]
    return rendered[0] if single else {"results": rendered}


def render_answer(answer: Answer, request_id: str) -> Json:
    """An answer in the shape of AnswerOut."""
    height, width = answer.detections.image_hw
    timings_ms = {stage: round(s * 1e3, 3) for stage, s in answer.timings.stages_s.items()}
    return {
        "model": {"name": answer.model.name, "version": answer.model.version, "digest": answer.model.digest},
        "image": {"width": width, "height": height},
        "detections": _rows(
            answer.detections,
            lambda label, label_id, score, box: {"label": label, "label_id": label_id, "score": score, "box": box},
            "mask",
        ),
        "timings_ms": {**timings_ms, "total": round(answer.timings.total_s * 1e3, 3)},
        "request_id": request_id,
    }


def render_coco(answer: Answer, image_id: int) -> list[Json]:
    """
    Rows of a COCO results file: https://cocodataset.org/#format-results

    category_id is the label's id in this model, 1 the first; bbox is [x, y, width, height];
    keypoints are x, y, 1 in turn.
    """
    rows = _rows(
        answer.detections,
        lambda label, label_id, score, box: {
            "image_id": image_id,
            "category_id": label_id,
            "bbox": _corner_and_size(box),
            "score": score,
        },
        "segmentation",
    )
    for row in rows:
        if "keypoints" in row:
            row["keypoints"] = [value for x, y, _ in row["keypoints"] for value in (x, y, 1)]
    return rows


def render_inference(answer: Answer) -> Json:
    """What supervision.Detections.from_inference takes, after https://inference.roboflow.com: centres and sizes."""
    height, width = answer.detections.image_hw
    rows = _rows(
        answer.detections,
        lambda label, label_id, score, box: {
            "class": label,
            "class_id": label_id,
            "confidence": score,
            **_centre_and_size(box),
        },
        "rle",
    )
    return {"image": {"width": width, "height": height}, "predictions": rows, "time": round(answer.timings.total_s, 6)}


def _rows(found: Detections, row: Callable[[str, int, float, list[float]], Json], mask_key: str) -> list[Json]:
    boxes, scores = found.boxes_xyxy.astype(float).round(3).tolist(), found.scores.astype(float).round(6).tolist()
    rows = [row(*values) for values in zip(found.labels, found.label_ids.tolist(), scores, boxes, strict=True)]
    for rendered, mask in zip(rows, found.masks or (), strict=False):
        rendered[mask_key] = render_mask(mask)
    if found.keypoints is not None:
        for rendered, points in zip(rows, found.keypoints.points_xys.astype(float).round(3).tolist(), strict=True):
            rendered["keypoints"] = points
    return rows


def _corner_and_size(box: list[float]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]


def _centre_and_size(box: list[float]) -> Json:
    x1, y1, x2, y2 = box
    return {
        "x": round((x1 + x2) / 2, 4),
        "y": round((y1 + y2) / 2, 4),
        "width": round(x2 - x1, 3),
        "height": round(y2 - y1, 3),
    }


def render_mask(mask: Mask) -> Json:
    """RLE as COCO writes it; polygons as flat rings; PNG (the mask's own rectangle and its corner) and raw, base64."""
    if isinstance(mask, RleMask):
        return {"size": list(mask.size_hw), "counts": mask.counts}
    if isinstance(mask, PolygonMask):
        return {"polygons": [list(ring) for ring in mask.rings_xy]}
    if isinstance(mask, RawMask):
        return {"size": list(mask.size_hw), "raw": base64.b64encode(mask.probabilities).decode("ascii")}
    return {"origin": list(mask.origin_xy), "png": base64.b64encode(mask.png).decode("ascii")}
