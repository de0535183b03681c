"""What a graph to be quantised is shown, so that it tells how large its activations get."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader

from service.bundle import Bundle
from service.detections import NmsOptions
from service.errors import ServiceError
from service.images import Limits, decode
from service.postprocess.boxes import pick
from service.preprocess import to_canvas

_LIMITS = Limits(50_000_000, 50_000_000)
_MOST_REGIONS = 100  # of an image
_SCORE_FLOOR = 0.05

Inputs = dict[str, NDArray[Any]]


class NotQuantised(ValueError):
    """There is no int8 bundle to be had of this; the message says why."""


class Reader(CalibrationDataReader):
    """Inputs one after the other, as ONNX Runtime's quantiser asks for them."""

    def __init__(self, rows: Iterator[Inputs]) -> None:
        self._rows = rows

    def get_next(self) -> Inputs | None:
        return next(self._rows, None)


def canvases(bundle: Bundle, paths: Sequence[Path]) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int]]]:
    """Each image on its canvas (H, W, 3), and the size of its valid part. Raises NotQuantised naming what is none."""
    for path in paths:
        try:
            image = decode(path.read_bytes(), _LIMITS)
        except (ServiceError, OSError) as error:
            raise NotQuantised(f"calibration image {path}: {error}") from error
        canvas, geometry = to_canvas(image, bundle.manifest.preprocess)
        yield canvas, geometry.resized_hw


def detector_inputs(bundle: Bundle, paths: Sequence[Path]) -> Iterator[Inputs]:
    """For each image, as a request would bring them."""
    for canvas, size_hw in canvases(bundle, paths):
        yield {"images": canvas[None], "sizes": np.array([size_hw], np.int64)}


def mask_head_inputs(bundle: Bundle, paths: Sequence[Path]) -> Iterator[Inputs]:
    """For each image with detections: its features, and the regions the mask head would be asked about."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    detector = ort.InferenceSession(str(bundle.path("detector.onnx")), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in detector.get_outputs()]
    iou = bundle.manifest.postprocess.iou_threshold
    for inputs in detector_inputs(bundle, paths):
        found = dict(zip(names, detector.run(names, inputs), strict=True))
        nms = NmsOptions(_SCORE_FLOOR, iou, "hard", False, _MOST_REGIONS, None)
        picked = pick(found.pop("boxes")[0], found.pop("scores")[0], found.pop("labels")[0], nms)
        if len(picked.scores):
            image_index = np.zeros(len(picked.scores), np.float32)
            rois = np.column_stack([image_index, picked.boxes_xyxy]).astype(np.float32)
            yield {**found, "rois": rois, "labels": picked.label_ids}
