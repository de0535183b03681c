"""Messages <-> values."""

from service.api.grpc.proto import detection_pb2 as pb
from service.api.options import Options
from service.detections import (
    Answer,
    Detections,
    DetectOptions,
    Mask,
    PolygonMask,
    RawMask,
    RleMask,
)

_NMS = {pb.NMS_HARD: "hard", pb.NMS_SOFT_LINEAR: "soft_linear", pb.NMS_SOFT_GAUSSIAN: "soft_gaussian"}
_MASKS = {
    pb.MASK_FORMAT_NONE: "none",
    pb.MASK_FORMAT_RLE: "rle",
    pb.MASK_FORMAT_POLYGON: "polygon",
    pb.MASK_FORMAT_PNG: "png",
    pb.MASK_FORMAT_RAW: "raw",
}
_MAY_BE_LEFT_OUT = ("score_threshold", "iou_threshold", "soft_nms_sigma", "max_detections")


def to_options(message: pb.DetectOptions) -> DetectOptions:
    """Raises InvalidOption naming the field and what was expected."""
    sent = {name: getattr(message, name) for name in _MAY_BE_LEFT_OUT if message.HasField(name)}
    return Options.parse(
        sent
        | {
            "class_score_thresholds": dict(message.class_score_thresholds),
            "nms": _NMS.get(message.nms, message.nms),
            "class_agnostic": message.class_agnostic,
            "classes": list(message.classes),
            "tta": list(message.tta),
            "masks": _MASKS.get(message.masks, message.masks),
        }
    ).to_values()


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
