"""
A bundle's graphs in int8, as QDQ (a QuantizeLinear and a DequantizeLinear around every operator that may run in int8).

ONNX Runtime's static quantiser: ranges of activations from calibration images, weights per output channel.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from model.quantise_inputs import NotQuantised, Reader, detector_inputs, mask_head_inputs
from service.bundle import Bundle

Method = Literal["minmax", "entropy", "percentile"]
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
_OPERATORS = ["Conv", "Gemm"]
_LAST_LAYERS = ("cls_logits", "bbox_pred", "cls_score", "mask_fcn_logits")  # torchvision's names of what gives answers
_NO_INT8 = ("RoiAlign", "MaxRoiPool", "ConvTranspose", "Resize", "NonMaxSuppression", "TopK", "Softmax", "Sigmoid")


@dataclass(frozen=True)
class Layers:
    """By name, what may run in int8, and why the others are left in floating point."""

    int8: tuple[str, ...]
    left_out: dict[str, str]
    no_int8: Counter[str]  # operators that work on activations and have no int8 form here, and how many there are


class Quantiser:
    """
    A bundle's graphs, calibrated once: the detector written in int8 as often as plans are tried, a mask head once.

    Convolutions and fully connected layers, but not the first to see pixels, nor those that give scores, boxes and
    masks: there a step of int8 is a step of the answer. RoiAlign and all arithmetic on boxes stay as they are.
    """

    def __init__(
        self,
        bundle: Bundle,
        calibration: Sequence[Path],
        method: Method,
        folder: Path,
        *,
        symmetric: bool = False,
        leave_out: Sequence[str] = (),
    ) -> None:
        """
        Activations are as large as they get on the calibration images; folder keeps what that told.

        symmetric: activations that may be negative are signed, around zero; OpenVINO undoes every other zero point in
        passes of their own over the activations, half of the time of a ResNet-50. ONNX Runtime folds it into its sums.

        leave_out: layers of the detector with any of these in their names stay in floating point.

        Raises NotQuantised for no or unreadable images, a Fast R-CNN, a part of no layer's name, or where nothing could
        run in int8.
        """
        if not calibration:
            raise NotQuantised("calibration needs at least one image")
        if bundle.manifest.proposals is not None:
            raise NotQuantised("a Fast R-CNN looks at regions it is given: calibration has none to give")
        detector = Reader(detector_inputs(bundle, calibration))
        how = _How(method, symmetric)
        self._detector = _Graph(
            bundle.path("detector.onnx"), detector, how, folder / "detector", sees_pixels=True, leave_out=leave_out
        )
        self._mask_head = None
        if bundle.manifest.task == "segmentation":
            regions = Reader(mask_head_inputs(bundle, calibration))
            self._mask_head = _Graph(bundle.path("mask_head.onnx"), regions, how, folder / "mask_head")

    @property
    def layers(self) -> Layers:
        """The detector's."""
        return self._detector.layers

    @property
    def mask_layers(self) -> Layers | None:
        """The mask head's, if there is one."""
        return self._mask_head.layers if self._mask_head else None

    def write(self, target: Path, left_out: Collection[str] = ()) -> tuple[str, ...]:
        """The detector with all layers in int8 that may be and are not in left_out; their names. At least one."""
        chosen = tuple(name for name in self.layers.int8 if name not in left_out)
        if not chosen:
            raise NotQuantised("every layer is left out")
        self._detector.write(target, chosen)
        return chosen

    def write_mask_head(self, target: Path) -> None:
        """All its layers in int8 that may be. Nothing is written where there is no mask head."""
        if self._mask_head:
            self._mask_head.write(target, self._mask_head.layers.int8)


@dataclass(frozen=True)
class _How:
    method: Method
    symmetric: bool


class _Graph:
    """
    One graph and the ranges of its activations.

    Weights use 7 of 8 bits: on CPUs without VNNI two products of full range overflow 16 bits.
    """

    def __init__(
        self,
        source: Path,
        reader: Reader,
        how: _How,
        folder: Path,
        *,
        sees_pixels: bool = False,
        leave_out: Sequence[str] = (),
    ) -> None:
        folder.mkdir()
        self._folded, self._ranges, self._how = folder / "folded.onnx", folder / "ranges.json", how
        # Symbolic shapes of a detector are more than its inference can follow; the optimiser folds norms and casts.
        quant_pre_process(str(source), str(self._folded), skip_symbolic_shape=True)
        self.layers = layers_of(onnx.load(self._folded), sees_pixels=sees_pixels, leave_out=leave_out)
        self._signed: dict[str, list[dict[str, Any]]] = {}
        self._quantise(folder / "all.onnx", self.layers.int8, reader)
        if how.symmetric:
            self._signed = {name: [{"quant_type": QuantType.QInt8, "symmetric": True}] for name in self._negative()}

    def write(self, target: Path, layers: Sequence[str]) -> None:
        """With these layers in int8."""
        self._quantise(target, layers, None)

    def _quantise(self, target: Path, layers: Sequence[str], reader: Reader | None) -> None:
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
            calibrate_method=_METHODS[self._how.method],
            calibration_cache_path=self._ranges,
            extra_options={"TensorQuantOverrides": self._signed},
        )

    def _negative(self) -> list[str]:
        """The activations around its layers that were seen below zero."""
        nodes = [node for node in onnx.load(self._folded).graph.node if node.name in self.layers.int8]
        around = {name for node in nodes for name in (node.input[0], *node.output)}
        lowest = {name: row["lowest"]["data"] for name, row in json.loads(self._ranges.read_text())["data"].items()}
        return [name for name in lowest if name in around and np.min(lowest[name]) < 0]


def layers_of(graph: onnx.ModelProto, *, sees_pixels: bool, leave_out: Sequence[str] = ()) -> Layers:
    """
    sees_pixels: the first layer stays as it is; so do those with a part of leave_out in their names.

    Raises NotQuantised where nothing would be left to run in int8, or such a part is in no name.
    """
    weights = {tensor.name for tensor in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type in _OPERATORS]
    if unknown := [part for part in leave_out if not any(part in node.name for node in nodes)]:
        raise NotQuantised(
            f"no layer to leave out is called {unknown[0]}: expected a part of {nodes[0].name} or the like"
        )
    whys = {node.name: _why_not(node, weights, sees_pixels and node is nodes[0], leave_out) for node in nodes}
    left_out = {name: why for name, why in whys.items() if why}
    int8 = tuple(node.name for node in nodes if node.name not in left_out)
    if not int8:
        raise NotQuantised(f"none of the {len(nodes)} convolutions and fully connected layers has constant weights")
    others = Counter(node.op_type for node in graph.graph.node if node.op_type in _NO_INT8)
    return Layers(int8, left_out, others)


def _why_not(node: onnx.NodeProto, weights: Collection[str], first: bool, leave_out: Sequence[str]) -> str:
    """Why a layer stays in floating point; empty where it need not."""
    if node.input[1] not in weights:
        return "its weights are not constant"
    if first:
        return "the first layer"
    if any(part in node.name for part in leave_out):
        return "left out as asked"
    return "gives scores, boxes or masks" if any(part in node.name for part in _LAST_LAYERS) else ""
