"""
detector.onnx in int8, as QDQ (a QuantizeLinear and a DequantizeLinear around every operator that may run in int8).

ONNX Runtime's static quantiser: ranges of activations from calibration images, weights per output channel.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from service.bundle import Bundle
from service.errors import ServiceError
from service.images import Limits, decode
from service.preprocess import to_canvas

Method = Literal["minmax", "entropy", "percentile"]
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
_OPERATORS = ["Conv", "Gemm"]
_LAST_LAYERS = ("cls_logits", "bbox_pred", "cls_score")  # torchvision's names of what gives scores and boxes
_LIMITS = Limits(50_000_000, 50_000_000)


class NotQuantised(ValueError):
    """There is no int8 bundle to be had of this; the message says why."""


@dataclass(frozen=True)
class Layers:
    """By name, what runs in int8 and what was left in floating point."""

    int8: tuple[str, ...]
    left_out: tuple[str, ...]


class _Canvases(CalibrationDataReader):
    """The detector's inputs for each image, one at a time, as a request would bring them."""

    def __init__(self, bundle: Bundle, paths: Sequence[Path]) -> None:
        self._rows = _inputs(bundle, paths)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rows, None)


def _inputs(bundle: Bundle, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        try:
            image = decode(path.read_bytes(), _LIMITS)
        except (ServiceError, OSError) as error:
            raise NotQuantised(f"calibration image {path}: {error}") from error
        canvas, geometry = to_canvas(image, bundle.manifest.preprocess)
        yield {"images": canvas[None], "sizes": np.array([geometry.resized_hw], np.int64)}


def quantise(bundle: Bundle, calibration: Sequence[Path], method: Method, target: Path) -> Layers:
    """
    Write bundle's detector in int8 to target; activations by what they are on the calibration images.

    Convolutions and fully connected layers, but not the first, nor those that give scores and boxes: there a step of
    int8 is a step of the answer. RoiAlign and all arithmetic on boxes stay as they are. Weights use 7 of 8 bits: on
    CPUs without VNNI two products of full range overflow 16 bits. Raises NotQuantised for no or unreadable images.
    """
    if not calibration:
        raise NotQuantised("calibration needs at least one image")
    with tempfile.TemporaryDirectory() as temporary:
        folded = Path(temporary) / "folded.onnx"
        # Symbolic shapes of a detector are more than its inference can follow; the optimiser folds norms and casts.
        quant_pre_process(str(bundle.path("detector.onnx")), str(folded), skip_symbolic_shape=True)
        layers = _layers(onnx.load(folded))
        quantize_static(
            str(folded),
            str(target),
            _Canvases(bundle, calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=list(layers.left_out),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=_METHODS[method],
        )
    return layers


def _layers(graph: onnx.ModelProto) -> Layers:
    """Raises NotQuantised where nothing would be left to run in int8."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    names = [node.name for node in graph.graph.node if node.op_type in _OPERATORS]
    loose = {n.name for n in graph.graph.node if n.op_type in _OPERATORS and n.input[1] not in weights}
    left_out = [n for i, n in enumerate(names) if i == 0 or n in loose or any(part in n for part in _LAST_LAYERS)]
    int8 = [name for name in names if name not in left_out]
    if not int8:
        raise NotQuantised(f"none of the {len(names)} convolutions and fully connected layers has constant weights")
    return Layers(tuple(int8), tuple(left_out))
