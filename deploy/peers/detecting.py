"""
Encoded images -> answers: the service's own decoding, pre-processing, engines and NMS, for a batch a peer gathered.

What differs between rcnn and a peer is then the serving alone: HTTP, queues, batching, processes.
"""

import os
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TypedDict

import numpy as np

from loadtests.peers import counts
from loadtests.peers.job import Job
from service.bundle import Bundle, read_bundle
from service.detections import NmsOptions
from service.detector import Found, Work, detect_batch
from service.engine.base import Engine
from service.engine.fake import FakeEngine
from service.engine.threads import available_cpus
from service.images import Limits, decode
from service.preprocess import Geometry, to_canvas

LIMITS = Limits(max_bytes=20_000_000, max_pixels=50_000_000)
"""The service's own defaults."""


class Detection(TypedDict):
    """As rcnn answers it."""

    label: str
    label_id: int
    score: float
    box: list[float]


class Answer(TypedDict):
    """The part of rcnn's answer that all servers here give."""

    image: dict[str, int]
    detections: list[Detection]
    timings_ms: dict[str, float]


class Detector:
    """One model on one engine. One caller at a time."""

    def __init__(self, job: Job) -> None:
        self._bundle = read_bundle(Path(job.bundle))
        self._engine = _engine(job, self._bundle)
        self._pads = job.mixing == "pad"
        self._counts, self._counts_file = counts.Counts(), os.open(job.counts, os.O_WRONLY | os.O_CREAT)
        defaults = self._bundle.manifest.postprocess
        self._nms = NmsOptions(
            score_threshold=defaults.score_threshold,
            iou_threshold=defaults.iou_threshold,
            method="hard",
            class_agnostic=False,
            max_detections=defaults.max_detections,
            label_ids=None,
        )

    def answers(self, pictures: Sequence[bytes]) -> list[Answer]:
        """One answer a picture, in order. Raises service.errors.CallerError for one that is no image."""
        works, geometries = [], []
        for picture in pictures:
            canvas, geometry = to_canvas(decode(picture, LIMITS), self._bundle.manifest.preprocess)
            works.append(Work(canvas, geometry.resized_hw, self._nms, wants_masks=False))
            geometries.append(geometry)
        found = self._run(_on_one_canvas(works)) if self._pads else self._run_by_canvas(works)
        return [self._answer(*pair) for pair in zip(found, geometries, strict=True)]

    def _run_by_canvas(self, works: Sequence[Work]) -> list[Found]:
        """One engine call for each shape of canvas."""
        order = sorted(range(len(works)), key=lambda index: works[index].canvas.shape)
        found: dict[int, Found] = {}
        for _, same in groupby(order, key=lambda index: works[index].canvas.shape):
            indices = list(same)
            found |= zip(indices, self._run([works[index] for index in indices]), strict=True)
        return [found[index] for index in range(len(works))]

    def _run(self, works: Sequence[Work]) -> list[Found]:
        found = detect_batch(self._engine, works)
        valid = sum(work.resized_hw[0] * work.resized_hw[1] for work in works)
        canvas = sum(work.canvas.shape[0] * work.canvas.shape[1] for work in works)
        self._counts = self._counts.plus(len(works), valid, canvas)
        counts.write(self._counts, self._counts_file)
        return found

    def _answer(self, found: Found, geometry: Geometry) -> Answer:
        start = time.perf_counter()
        picked, labels = found.picked, self._bundle.manifest.labels
        boxes = geometry.to_image_pixels(picked.boxes_xyxy).astype(float).round(3).tolist()
        rows = zip(picked.label_ids.tolist(), picked.scores.astype(float).round(6).tolist(), boxes, strict=True)
        detections: list[Detection] = [
            {"label": labels[label_id - 1], "label_id": label_id, "score": score, "box": box}
            for label_id, score, box in rows
        ]
        stages_ms = {stage: round(seconds * 1e3, 3) for stage, seconds in found.stages_s.items()}
        encode_ms = round((time.perf_counter() - start) * 1e3, 3)
        image = {"width": geometry.image_hw[1], "height": geometry.image_hw[0]}
        return {"image": image, "detections": detections, "timings_ms": {**stages_ms, "encode": encode_ms}}


def _engine(job: Job, bundle: Bundle) -> Engine:
    if job.engine == "fake":
        return FakeEngine(job.delay_ms / 1e3)
    from service.engine.onnx import OnnxEngine  # here because the fake engine needs no ONNX Runtime

    return OnnxEngine(bundle, available_cpus())


def _on_one_canvas(works: Sequence[Work]) -> list[Work]:
    """Every image on the smallest canvas that holds the canvases of all."""
    height, width = (max(work.canvas.shape[axis] for work in works) for axis in (0, 1))
    return [work if work.canvas.shape[:2] == (height, width) else _enlarged(work, height, width) for work in works]


def _enlarged(work: Work, height: int, width: int) -> Work:
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: work.canvas.shape[0], : work.canvas.shape[1]] = work.canvas
    return Work(canvas, work.resized_hw, work.nms, work.wants_masks)
