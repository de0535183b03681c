"""OpenVINO on CPU. Features pass from one graph to the other as OpenVINO tensors, never through numpy."""

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundle import GRAPHS, Bundle
from service.engine.base import DetectorOutput, EngineOptions
from service.engine.cpu import cpu_features
from service.engine.precision import cpu_precision

_CONVERTER = "openvino.tools.ovc"


class OpenVinoEngine:
    """fp32 unless options.precision allows bf16 and the CPU has it. One infer request a graph, for one caller."""

    name = "openvino"
    compiles_by_shape = False

    def __init__(self, bundle: Bundle, threads: int, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        self.precision: str = cpu_precision(options.precision, bundle, cpu_features())
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self.precision],
        }
        graphs = GRAPHS[bundle.manifest.task]
        requests = {name: _compile(bundle, name, properties, options).create_infer_request() for name in graphs}
        self._detector = requests.pop("detector.onnx")
        self._heads = requests
        outputs = {name for output in self._detector.model_outputs for name in output.names}
        self._features = sorted(name for name in outputs if name.startswith("features_"))

    def detect(
        self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64], proposals: NDArray[np.float32] | None = None
    ) -> DetectorOutput:
        request = self._detector
        regions = {} if proposals is None else {"proposals": proposals}
        request.infer({"images": images, "sizes": sizes_hw, **regions}, share_inputs=True, share_outputs=True)
        # The request's buffers are overwritten by its next run.
        boxes, scores, labels = (request.get_tensor(name).data.copy() for name in ("boxes", "scores", "labels"))
        features = {name: request.get_tensor(name) for name in self._features}
        return DetectorOutput(boxes, scores, labels, features)

    def masks(self, features: Any, rois: NDArray[np.float32], label_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._run_head("mask_head.onnx", {**features, "rois": rois, "labels": label_ids})

    def keypoints(self, features: Any, rois: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._run_head("keypoint_head.onnx", {**features, "rois": rois})

    def _run_head(self, file: str, inputs: dict[str, Any]) -> NDArray[np.float32]:
        if file not in self._heads:
            raise ValueError(f"this model has no {file}. This is a bug.")
        self._heads[file].infer(inputs, share_inputs=True, share_outputs=True)
        values: NDArray[np.float32] = self._heads[file].get_output_tensor(0).data.copy()
        return values

    def close(self) -> None:
        """Requests free their memory when the last reference goes."""


def _compile(bundle: Bundle, graph: str, properties: dict[str, Any], options: EngineOptions) -> Any:
    """The compiled graph, from the cache where it can be kept there."""
    ov, core = _openvino(), _core()
    path = str(bundle.path(graph))
    key = ("openvino", ov.get_version(), *sorted(cpu_features()), str(sorted(properties.items())), bundle.digest, graph)

    def write(folder: Path) -> None:
        (folder / "graph.blob").write_bytes(core.compile_model(path, "CPU", properties).export_model().getbuffer())

    if folder := options.cache.get(key, write):
        # A tensor over the mapped file: weights are paged in, not copied.
        blob = ov.tensor_from_file(str(folder / "graph.blob"))
        return core.import_model(blob, "CPU", properties)
    return core.compile_model(path, "CPU", properties)


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
