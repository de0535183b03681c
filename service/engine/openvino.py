"""OpenVINO on CPU. Features pass from one graph to the other as OpenVINO tensors, never through numpy."""

from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from service.bundle import Bundle
from service.engine.base import DetectorOutput


class OpenVinoEngine:
    """Always fp32: answers must not depend on whether the CPU happens to have bf16."""

    name = "openvino"
    precision = "fp32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        core = ov.Core()
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self._detector = core.compile_model(str(bundle.path("detector.onnx")), "CPU", options).create_infer_request()
        self._mask_head = None
        if bundle.manifest.task == "segmentation":
            compiled = core.compile_model(str(bundle.path("mask_head.onnx")), "CPU", options)
            self._mask_head = compiled.create_infer_request()

    def detect(self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64]) -> DetectorOutput:
        request = self._detector
        request.infer({"images": images, "sizes": sizes_hw}, share_inputs=True)
        boxes, scores, labels = (request.get_tensor(name).data.copy() for name in ("boxes", "scores", "labels"))
        features = {}
        if self._mask_head is not None:
            features = {f"features_{level}": request.get_tensor(f"features_{level}") for level in range(4)}
        return DetectorOutput(boxes, scores, labels, features)

    def masks(self, features: Any, rois: NDArray[np.float32], label_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._mask_head is None:
            raise ValueError("a detection model has no mask head. This is a bug.")
        self._mask_head.infer({**features, "rois": rois, "labels": label_ids}, share_inputs=True)
        masks: NDArray[np.float32] = self._mask_head.get_tensor("masks").data.copy()
        return masks

    def close(self) -> None:
        """Requests free their memory when the last reference goes."""
