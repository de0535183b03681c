"""ONNX Runtime. Features pass from one graph to the other as OrtValues, never through numpy."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.bundle import GRAPHS, Bundle
from service.engine.base import DetectorOutput


class OnnxEngine:
    """CPU, or CUDA where onnxruntime-gpu finds a device."""

    name = "onnx"
    precision = "fp32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        on_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        self._detector = _session(str(bundle.path("detector.onnx")), threads, on_cuda)
        # The provider may be installed and still find no device: what the session really got decides.
        self._device = "cuda" if "CUDAExecutionProvider" in self._detector.get_providers() else "cpu"
        self._outputs = [output.name for output in self._detector.get_outputs()]
        heads = [name for name in GRAPHS[bundle.manifest.task] if name != "detector.onnx"]
        self._heads = {name: _session(str(bundle.path(name)), threads, on_cuda) for name in heads}

    def detect(self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64]) -> DetectorOutput:
        binding = self._detector.io_binding()
        binding.bind_cpu_input("images", images)
        binding.bind_cpu_input("sizes", sizes_hw)
        for name in self._outputs:
            binding.bind_output(name, self._device if name.startswith("features") else "cpu")
        self._detector.run_with_iobinding(binding)
        values = dict(zip(self._outputs, binding.get_outputs(), strict=True))
        boxes, scores, labels = (values.pop(name).numpy() for name in ("boxes", "scores", "labels"))
        return DetectorOutput(boxes, scores, labels, values)

    def masks(self, features: Any, rois: NDArray[np.float32], label_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._run_head("mask_head.onnx", features, {"rois": rois, "labels": label_ids})

    def keypoints(self, features: Any, rois: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._run_head("keypoint_head.onnx", features, {"rois": rois})

    def _run_head(self, file: str, features: Any, regions: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        if file not in self._heads:
            raise ValueError(f"this model has no {file}. This is a bug.")
        binding = self._heads[file].io_binding()
        for name, value in features.items():
            binding.bind_ortvalue_input(name, value)
        for name, region in regions.items():
            binding.bind_cpu_input(name, region)
        binding.bind_output(self._heads[file].get_outputs()[0].name, "cpu")
        self._heads[file].run_with_iobinding(binding)
        values: NDArray[np.float32] = binding.get_outputs()[0].numpy()
        return values

    def close(self) -> None:
        """Sessions free their memory when the last reference goes."""


def _session(path: str, threads: int, on_cuda: bool) -> ort.InferenceSession:
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Spinning threads starve decode and paste, which share the same few cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if on_cuda:
        # EXHAUSTIVE, the default, searches again for every new canvas: hundreds of milliseconds each.
        cuda = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
        providers.insert(0, ("CUDAExecutionProvider", cuda))
    return ort.InferenceSession(path, options, providers=providers)
