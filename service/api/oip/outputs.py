"""Answers -> output tensors, padded to the most detections of any image in the request."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.api.oip.values import OutputTensor
from service.detections import Answer, RleMask
from service.errors import InvalidRequest
from service.models import ServedModel

OUTPUTS: tuple[dict[str, object], ...] = (
    {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
    {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
    {"name": "labels", "datatype": "INT64", "shape": [-1, -1]},
    {"name": "num_detections", "datatype": "INT32", "shape": [-1]},
)
KEYPOINTS: dict[str, object] = {"name": "keypoints", "datatype": "FP32"}
MASKS: dict[str, object] = {"name": "masks", "datatype": "BYTES", "shape": [-1, -1]}


def outputs_of(model: ServedModel) -> tuple[dict[str, object], ...]:
    """Name, datatype and shape of every output of a model: masks and keypoints only where it has them."""
    masks = (MASKS,) if model.segments else ()
    return (*OUTPUTS, *masks, *({**KEYPOINTS, "shape": [-1, -1, J, 3]} for J in _points(model)))


def _points(model: ServedModel) -> tuple[int, ...]:
    """How many points model names on an object; nothing if it finds none."""
    skeleton = model.bundle.manifest.keypoints
    return (len(skeleton.names),) if skeleton else ()


def check_outputs(asked: Sequence[str], model: ServedModel) -> tuple[str, ...]:
    """The outputs to send: those asked for, or all. Raises InvalidRequest naming what there is."""
    known = [str(output["name"]) for output in outputs_of(model)]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise InvalidRequest(f"outputs: {model.id.name} has no {', '.join(unknown):.200}; it has {', '.join(known)}.")
    if len(set(asked)) < len(asked):
        raise InvalidRequest("outputs: the same output is asked for twice.")
    return tuple(asked) or tuple(known)


def to_outputs(answers: Sequence[Answer], names: Sequence[str]) -> tuple[OutputTensor, ...]:
    """
    boxes [N, D, 4] (x1, y1, x2, y2 in image pixels), scores [N, D], labels [N, D] (1 is the first class),
    num_detections [N], masks [N, D] (COCO run lengths),
    keypoints [N, D, J, 3] (x, y, score). Rows from num_detections on are 0, or empty.
    """
    most = max(len(answer.detections) for answer in answers)
    return tuple(_output(name, answers, most) for name in names)


def _output(name: str, answers: Sequence[Answer], most: int) -> OutputTensor:
    if name == "num_detections":
        counts = np.array([len(answer.detections) for answer in answers], np.int32)
        return OutputTensor(name, "INT32", counts.shape, counts)
    if name == "masks":
        elements = [counts for answer in answers for counts in _padded_masks(answer, most)]
        return OutputTensor(name, "BYTES", (len(answers), most), elements)
    if name == "keypoints":
        points = [keypoints.points_xys for a in answers if (keypoints := a.detections.keypoints) is not None]
        padded = _padded(points, most, np.float32)
        return OutputTensor(name, "FP32", padded.shape, padded)
    if name == "boxes":
        padded = _padded([answer.detections.boxes_xyxy for answer in answers], most, np.float32)
        return OutputTensor(name, "FP32", padded.shape, padded)
    if name == "scores":
        padded = _padded([answer.detections.scores for answer in answers], most, np.float32)
        return OutputTensor(name, "FP32", padded.shape, padded)
    padded = _padded([answer.detections.label_ids for answer in answers], most, np.int64)
    return OutputTensor(name, "INT64", padded.shape, padded)


def _padded(rows: Sequence[NDArray[np.generic]], most: int, dtype: type[np.generic]) -> NDArray[np.generic]:
    padded = np.zeros((len(rows), most, *rows[0].shape[1:]), dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def _padded_masks(answer: Answer, most: int) -> list[bytes]:
    masks = answer.detections.masks or ()
    counts = [mask.counts.encode("ascii") for mask in masks if isinstance(mask, RleMask)]
    return counts + [b""] * (most - len(counts))
