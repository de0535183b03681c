"""OpenVINO on CPU. Features pass from one graph to the other as OpenVINO tensors, never through numpy."""

from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from service.bundle import GRAPHS, Bundle
from service.engine.base import DetectorOutput


class OpenVinoEngine:
    """Always fp32: answers must not depend on whether the CPU happens to have bf16."""

    name = "openvino"
    precision = "fp32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        core = ov.Core()
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self._detector = core.compile_model(str(bundle.path("detector.onnx")), "CPU", options).create_infer_request()
        outputs = {name for output in self._detector.model_outputs for name in output.names}
        self._features = sorted(name for name in outputs if name.startswith("features_"))
        heads = [name for name in GRAPHS[bundle.manifest.task] if name != "detector.onnx"]
        paths = {name: str(bundle.path(name)) for name in heads}
        self._heads = {
            name: core.compile_model(path, "CPU", options).create_infer_request() for name, path in paths.items()
        }

    def detect(self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64]) -> DetectorOutput:
        request = self._detector
        request.infer({"images": images, "sizes": sizes_hw}, share_inputs=True)
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
        self._heads[file].infer(inputs, share_inputs=True)
        values: NDArray[np.float32] = self._heads[file].get_output_tensor(0).data.copy()
        return values

    def close(self) -> None:
        """Requests free their memory when the last reference goes."""
