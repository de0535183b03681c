"""The words of the REST interface: options in, answers out."""

import base64
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.bundle import Task
from service.detections import (
    Answer,
    Detections,
    DetectOptions,
    Mask,
    MaskFormat,
    NmsMethod,
    PolygonMask,
    RawMask,
    RleMask,
)


class Options(BaseModel):
    """Options of a detection. Anything left out is the model's own default."""

    model_config = ConfigDict(extra="forbid")

    score_threshold: float | None = Field(None, ge=0, le=1, description="Least score reported.")
    iou_threshold: float | None = Field(
        None, ge=0, le=1, description="Overlap above which NMS treats two boxes as one object."
    )
    nms: NmsMethod = Field("hard", description="hard removes overlapping boxes; soft_* lower their scores (Soft-NMS).")
    class_agnostic: bool = Field(False, description="Let NMS work across classes.")
    max_detections: int | None = Field(None, ge=1, le=10_000, description="Most objects reported, best first.")
    classes: list[str] = Field([], description="Only these labels.")
    masks: MaskFormat = Field("none", description="How masks are sent, for models that have them.")

    def to_values(self) -> DetectOptions:
        return DetectOptions(**{**self.model_dump(include=set(Options.model_fields)), "classes": tuple(self.classes)})


class QueryOptions(Options):
    """The same as query parameters; `version` picks one version of the model."""

    version: str | None = Field(None, description="Model version; the one served by default if left out.")


class EncodedImage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    b64: str = Field(description="The image file, base64.")


class JsonBody(Options):
    """A JSON request: one or more images, and options for all of them."""

    images: list[EncodedImage] = Field(min_length=1)


class ModelRef(BaseModel):
    name: str
    version: str
    digest: str


class ImageSize(BaseModel):
    width: int
    height: int


class DetectionOut(BaseModel):
    """One object. box is [x1, y1, x2, y2] in pixels of the image as a person sees it."""

    label: str
    label_id: int
    score: float
    box: tuple[float, float, float, float]
    mask: dict[str, Any] | None = None
    keypoints: list[tuple[float, float, float]] | None = Field(
        None, description="[x, y, score] of each point a keypoints model names, in its order; score is a logit."
    )


class AnswerOut(BaseModel):
    model: ModelRef
    image: ImageSize
    detections: list[DetectionOut]
    timings_ms: dict[str, float]
    request_id: str


class AnswersOut(BaseModel):
    """The answers to a multipart or JSON request, in the order of its images."""

    results: list[AnswerOut]


class SkeletonOut(BaseModel):
    """The points a keypoints model finds on every object; limbs are pairs of them, counted from 0."""

    names: list[str]
    limbs: list[tuple[int, int]]


class ModelOut(BaseModel):
    """A served model."""

    name: str
    version: str
    digest: str
    task: Task
    architecture: str
    labels: list[str]
    state: str
    default: bool
    engine: str
    precision: str
    postprocess: dict[str, float]
    canvas_grid: list[tuple[int, int]]
    examples: list[str]
    keypoints: SkeletonOut | None = None


class ModelsOut(BaseModel):
    models: list[ModelOut]


class ProblemOut(BaseModel):
    """RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


def render_answer(answer: Answer, request_id: str) -> dict[str, Any]:
    """An answer as JSON-ready values, in the shape of AnswerOut."""
    height, width = answer.detections.image_hw
    timings_ms = {stage: round(s * 1e3, 3) for stage, s in answer.timings.stages_s.items()}
    return {
        "model": {"name": answer.model.name, "version": answer.model.version, "digest": answer.model.digest},
        "image": {"width": width, "height": height},
        "detections": _render_detections(answer.detections),
        "timings_ms": {**timings_ms, "total": round(answer.timings.total_s * 1e3, 3)},
        "request_id": request_id,
    }


def _render_detections(found: Detections) -> list[dict[str, Any]]:
    boxes, scores = found.boxes_xyxy.astype(float).round(3).tolist(), found.scores.astype(float).round(6).tolist()
    rows = [
        {"label": label, "label_id": int(label_id), "score": score, "box": box}
        for label, label_id, score, box in zip(found.labels, found.label_ids, scores, boxes, strict=True)
    ]
    for row, mask in zip(rows, found.masks or (), strict=False):
        row["mask"] = render_mask(mask)
    if found.keypoints is not None:
        for row, points in zip(rows, found.keypoints.points_xys.astype(float).round(3).tolist(), strict=True):
            row["keypoints"] = points
    return rows


def render_mask(mask: Mask) -> dict[str, Any]:
    """RLE as COCO writes it; polygons as flat rings; PNG (the mask's own rectangle and its corner) and raw, base64."""
    if isinstance(mask, RleMask):
        return {"size": list(mask.size_hw), "counts": mask.counts}
    if isinstance(mask, PolygonMask):
        return {"polygons": [list(ring) for ring in mask.rings_xy]}
    if isinstance(mask, RawMask):
        return {"size": list(mask.size_hw), "raw": base64.b64encode(mask.probabilities).decode("ascii")}
    return {"origin": list(mask.origin_xy), "png": base64.b64encode(mask.png).decode("ascii")}
