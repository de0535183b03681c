"""Messages <-> values."""

from service.api.grpc.proto import detection_pb2 as pb
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
from service.errors import InvalidOption

_NMS: dict[int, NmsMethod] = {
    pb.NMS_HARD: "hard",
    pb.NMS_SOFT_LINEAR: "soft_linear",
    pb.NMS_SOFT_GAUSSIAN: "soft_gaussian",
}
_MASKS: dict[int, MaskFormat] = {
    pb.MASK_FORMAT_NONE: "none",
    pb.MASK_FORMAT_RLE: "rle",
    pb.MASK_FORMAT_POLYGON: "polygon",
    pb.MASK_FORMAT_PNG: "png",
    pb.MASK_FORMAT_RAW: "raw",
}


def to_options(message: pb.DetectOptions) -> DetectOptions:
    """Raises InvalidOption naming the field and what was expected."""
    if message.nms not in _NMS or message.masks not in _MASKS:
        raise InvalidOption(f"nms and masks: expected a known value, got {message.nms} and {message.masks}.")
    return DetectOptions(
        score_threshold=_ratio("score_threshold", message),
        iou_threshold=_ratio("iou_threshold", message),
        nms=_NMS[message.nms],
        class_agnostic=message.class_agnostic,
        max_detections=_count(message),
        classes=tuple(message.classes),
        masks=_MASKS[message.masks],
    )


def _ratio(field: str, message: pb.DetectOptions) -> float | None:
    if not message.HasField(field):
        return None
    value = float(getattr(message, field))
    if not 0 <= value <= 1:
        raise InvalidOption(f"{field}: expected 0 to 1, got {value:g}.")
    return value


def _count(message: pb.DetectOptions) -> int | None:
    if not message.HasField("max_detections"):
        return None
    if not 1 <= message.max_detections <= 10_000:
        raise InvalidOption(f"max_detections: expected 1 to 10000, got {message.max_detections}.")
    return message.max_detections


def to_response(answer: Answer, request_id: str) -> pb.DetectResponse:
    height, width = answer.detections.image_hw
    timings_ms = {stage: s * 1e3 for stage, s in answer.timings.stages_s.items()}
    return pb.DetectResponse(
        model=pb.Model(name=answer.model.name, version=answer.model.version, digest=answer.model.digest),
        image_width=width,
        image_height=height,
        detections=[_detection(answer.detections, index) for index in range(len(answer.detections))],
        timings_ms={**timings_ms, "total": answer.timings.total_s * 1e3},
        request_id=request_id,
    )


def _detection(found: Detections, index: int) -> pb.Detection:
    x1, y1, x2, y2 = (float(v) for v in found.boxes_xyxy[index])
    message = pb.Detection(
        label=found.labels[index],
        label_id=int(found.label_ids[index]),
        score=float(found.scores[index]),
        box=pb.Box(x1=x1, y1=y1, x2=x2, y2=y2),
    )
    if found.keypoints is not None:
        points = zip(found.keypoints.names, found.keypoints.points_xys[index], strict=True)
        message.keypoints.extend(pb.Keypoint(name=name, x=p[0], y=p[1], score=p[2]) for name, p in points)
    if found.masks:
        _set_mask(message, found.masks[index])
    return message


def _set_mask(message: pb.Detection, mask: Mask) -> None:
    if isinstance(mask, RleMask):
        message.rle.CopyFrom(pb.Rle(height=mask.size_hw[0], width=mask.size_hw[1], counts=mask.counts))
    elif isinstance(mask, PolygonMask):
        message.polygon.CopyFrom(pb.Polygon(rings=[pb.Ring(xy=ring) for ring in mask.rings_xy]))
    elif isinstance(mask, RawMask):
        message.raw.CopyFrom(pb.RawMask(height=mask.size_hw[0], width=mask.size_hw[1], data=mask.probabilities))
    else:
        message.png.CopyFrom(pb.Png(origin_x=mask.origin_xy[0], origin_y=mask.origin_xy[1], data=mask.png))
