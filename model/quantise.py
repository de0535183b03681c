"""
detector.onnx in int8, as QDQ (a QuantizeLinear and a DequantizeLinear around every operator that may run in int8).

ONNX Runtime's static quantiser: ranges of activations from calibration images, weights per output channel.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
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
_NO_INT8 = ("RoiAlign", "MaxRoiPool", "ConvTranspose", "Resize", "NonMaxSuppression", "TopK", "Softmax", "Sigmoid")
_LIMITS = Limits(50_000_000, 50_000_000)


class NotQuantised(ValueError):
    """There is no int8 bundle to be had of this; the message says why."""


@dataclass(frozen=True)
class Layers:
    """By name, what may run in int8, and why the others are left in floating point."""

    int8: tuple[str, ...]
    left_out: dict[str, str]
    no_int8: dict[str, int]  # operators that work on activations and have no int8 form here, and how many there are


class _Canvases(CalibrationDataReader):
    """The detector's inputs for each image, one at a time, as a request would bring them."""

    def __init__(self, bundle: Bundle, paths: Sequence[Path]) -> None:
        self._rows = canvases(bundle, paths)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        row = next(self._rows, None)
        return None if row is None else {"images": row[0][None], "sizes": np.array([row[1]], np.int64)}


def canvases(bundle: Bundle, paths: Sequence[Path]) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int]]]:
    """Each image on its canvas (H, W, 3), and the size of its valid part. Raises NotQuantised naming what is none."""
    for path in paths:
        try:
            image = decode(path.read_bytes(), _LIMITS)
        except (ServiceError, OSError) as error:
            raise NotQuantised(f"calibration image {path}: {error}") from error
        canvas, geometry = to_canvas(image, bundle.manifest.preprocess)
        yield canvas, geometry.resized_hw


class Quantiser:
    """
    A bundle's detector, calibrated once, written in int8 as often as plans are tried.

    Convolutions and fully connected layers, but not the first, nor those that give scores and boxes: there a step of
    int8 is a step of the answer. RoiAlign and all arithmetic on boxes stay as they are. Weights use 7 of 8 bits: on
    CPUs without VNNI two products of full range overflow 16 bits.
    """

    def __init__(self, bundle: Bundle, calibration: Sequence[Path], method: Method, folder: Path) -> None:
        """
        Activations are as large as they get on the calibration images; folder keeps what that told.

        Raises NotQuantised for no or unreadable images, a Fast R-CNN, or where nothing could run in int8.
        """
        if not calibration:
            raise NotQuantised("calibration needs at least one image")
        if bundle.manifest.proposals is not None:
            raise NotQuantised("a Fast R-CNN looks at regions it is given: calibration has none to give")
        self._folded, self._ranges, self._method = folder / "folded.onnx", folder / "ranges.json", method
        # Symbolic shapes of a detector are more than its inference can follow; the optimiser folds norms and casts.
        quant_pre_process(str(bundle.path("detector.onnx")), str(self._folded), skip_symbolic_shape=True)
        self.layers = layers_of(onnx.load(self._folded))
        self._quantise(folder / "all.onnx", self.layers.int8, _Canvases(bundle, calibration))

    def write(self, target: Path, left_out: Collection[str] = ()) -> tuple[str, ...]:
        """The detector with all layers in int8 that may be and are not in left_out; their names. At least one."""
        chosen = tuple(name for name in self.layers.int8 if name not in left_out)
        if not chosen:
            raise NotQuantised("every layer is left out")
        self._quantise(target, chosen, None)
        return chosen

    def _quantise(self, target: Path, layers: Sequence[str], reader: CalibrationDataReader | None) -> None:
        quantize_static(
            str(self._folded),
            str(target),
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_quantize=list(layers),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=_METHODS[self._method],
            calibration_cache_path=self._ranges,
        )


def layers_of(graph: onnx.ModelProto) -> Layers:
    """Raises NotQuantised where nothing would be left to run in int8."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type in _OPERATORS]
    left_out = {node.name: why for index, node in enumerate(nodes) if (why := _why_not(index, node, weights))}
    int8 = tuple(node.name for node in nodes if node.name not in left_out)
    if not int8:
        raise NotQuantised(f"none of the {len(nodes)} convolutions and fully connected layers has constant weights")
    others = Counter(node.op_type for node in graph.graph.node if node.op_type in _NO_INT8)
    return Layers(int8, left_out, dict(others))


def _why_not(index: int, node: onnx.NodeProto, weights: Collection[str]) -> str:
    """Why a layer stays in floating point; empty where it need not."""
    if node.input[1] not in weights:
        return "its weights are not constant"
    if index == 0:
        return "the first layer"
    return "gives scores or boxes" if any(part in node.name for part in _LAST_LAYERS) else ""
