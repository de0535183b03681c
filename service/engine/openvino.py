"""OpenVINO on CPU. Features pass from one graph or part to the next as OpenVINO tensors, never through numpy."""

import copy
import functools
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundle import GRAPHS, Bundle
from service.engine.base import DetectorOutput, EngineOptions
from service.engine.cpu import cpu_features
from service.engine.openvino_parts import in_parts
from service.engine.precision import cpu_precision

_CONVERTER = "openvino.tools.ovc"
_CUT = "parts 2"  # how graphs are cut: another way is another entry of the cache
_LANES = 2
_HEAD_OUTPUTS = {"mask_head.onnx": "masks", "keypoint_head.onnx": "heatmaps"}


class OpenVinoEngine:
    """fp32 unless options.precision allows bf16 and the CPU has it. One infer request a graph, for one caller."""

    name = "openvino"
    compiles_by_shape = False

    def __init__(self, bundle: Bundle, threads: int, options: EngineOptions | None = None, *, streams: int = 1) -> None:
        """streams: as many such engines will share the threads."""
        self.lane_count = _LANES if streams == 1 and threads >= _LANES else 0
        self._bundle, self._threads, self._options = bundle, threads, options or EngineOptions()
        self.precision: str = cpu_precision(self._options.precision, bundle, cpu_features())
        properties = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self.precision],
            # Engines of other processes on this host would pin theirs to the very same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        graphs = GRAPHS[bundle.manifest.task]
        self._compiled = {name: _compile(bundle, name, properties, self._options) for name in graphs}
        self._open()

    def _open(self) -> None:
        """Infer requests of this engine's own."""
        self._heads = {name: _Chain(parts) for name, parts in self._compiled.items()}
        self._detector = self._heads.pop("detector.onnx")
        self._features = sorted(name for name in self._detector.output_names if name.startswith("features_"))

    def lanes(self) -> "Sequence[OpenVinoEngine]":
        """They share the compiled graphs, and each has infer requests of its own."""
        if not self.lane_count:
            return ()
        first = OpenVinoEngine(self._bundle, self._threads, self._options, streams=self.lane_count)
        others = [copy.copy(first) for _ in range(self.lane_count - 1)]
        for other in others:
            other._open()
        return [first, *others]

    def detect(
        self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64], proposals: NDArray[np.float32] | None = None
    ) -> DetectorOutput:
        regions = {} if proposals is None else {"proposals": proposals}
        given = self._detector.run({"images": images, "sizes": sizes_hw, **regions})
        # The requests' buffers are overwritten by their next run.
        boxes, scores, labels = (given[name].data.copy() for name in ("boxes", "scores", "labels"))
        features = {name: given[name] for name in self._features}
        return DetectorOutput(boxes, scores, labels, features)

    def masks(self, features: Any, rois: NDArray[np.float32], label_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._run_head("mask_head.onnx", {**features, "rois": rois, "labels": label_ids})

    def keypoints(self, features: Any, rois: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._run_head("keypoint_head.onnx", {**features, "rois": rois})

    def _run_head(self, file: str, inputs: dict[str, Any]) -> NDArray[np.float32]:
        if file not in self._heads:
            raise ValueError(f"this model has no {file}. This is a bug.")
        values: NDArray[np.float32] = self._heads[file].run(inputs)[_HEAD_OUTPUTS[file]].data.copy()
        return values

    def close(self) -> None:
        """Requests free their memory when the last reference goes."""


class _Chain:
    """The parts of one graph, each with one infer request: what one gives the next ones get, without a copy."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._requests = [part.create_infer_request() for part in parts]
        self._input_names = [[sorted(tensor.names) for tensor in part.inputs] for part in parts]
        self._output_names = [[sorted(tensor.names) for tensor in part.outputs] for part in parts]
        self.output_names = [name for part in self._output_names for names in part for name in names]

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays or tensors by name -> all outputs of all parts as tensors, which the next run overwrites."""
        known = dict(inputs)
        for request, ins, outs in zip(self._requests, self._input_names, self._output_names, strict=True):
            given = {names[0]: next(known[name] for name in names if name in known) for names in ins}
            request.infer(given, share_inputs=True, share_outputs=True)
            for index, names in enumerate(outs):
                known |= dict.fromkeys(names, request.get_output_tensor(index))
        return known


def _compile(bundle: Bundle, graph: str, properties: Mapping[str, Any], options: EngineOptions) -> list[Any]:
    """The compiled parts of a graph in the order to run them, from the cache where they can be kept there."""
    ov, core = _openvino(), _core()
    path = str(bundle.path(graph))
    key = ("openvino", _CUT, ov.get_version(), *sorted(cpu_features()), str(sorted(properties.items())))

    def compiled() -> Iterator[tuple[str, Any]]:
        for model, precision in in_parts(ov, core.read_model(path), properties["INFERENCE_PRECISION_HINT"]):
            yield precision, core.compile_model(model, "CPU", {**properties, "INFERENCE_PRECISION_HINT": precision})

    def write(folder: Path) -> None:
        for index, (precision, part) in enumerate(compiled()):
            (folder / f"{index}.{precision}.blob").write_bytes(part.export_model().getbuffer())

    if folder := options.cache.get((*key, bundle.digest, graph), write):
        return [_imported(blob, properties) for blob in sorted(folder.glob("*.blob"))]
    return [part for _, part in compiled()]


def _imported(blob: Path, properties: Mapping[str, Any]) -> Any:
    """A tensor over the mapped file: weights are paged in, not copied."""
    precision = blob.name.split(".")[1]
    own = {**properties, "INFERENCE_PRECISION_HINT": precision}
    return _core().import_model(_openvino().tensor_from_file(str(blob)), "CPU", own)


@functools.cache
def _core() -> Any:
    """
    One for the life of the process.

    The first gives its thread an alternate signal stack; when the last goes, on whatever thread, that stack's memory
    goes too, and the next signal handled on the first thread would be a segmentation fault.
    """
    return _openvino().Core()


@functools.cache
def _openvino() -> Any:
    """
    The runtime without its model converter: a third of its import, and converting is not serving.

    openvino/__init__.py offers the converter where it can be imported, and goes without where it cannot.
    """
    hidden = _CONVERTER not in sys.modules
    if hidden:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        if hidden:
            del sys.modules[_CONVERTER]
