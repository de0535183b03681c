"""ONNX Runtime on CPU, CUDA or TensorRT. Features pass between the graphs as OrtValues, never through numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.bundle import GRAPHS, Bundle
from service.engine import providers
from service.engine.base import DetectorOutput, Engine, EngineOptions
from service.engine.cpu import cpu_features

_OPTIMISED = "graph.onnx"


class OnnxEngine:
    """fp32, on CUDA where onnxruntime-gpu finds a device, else on CPU."""

    name = "onnx"
    precision = "fp32"
    lane_count = 0

    def __init__(
        self, bundle: Bundle, threads: int, options: EngineOptions | None = None, *, tensorrt: bool = False
    ) -> None:
        options = options or EngineOptions()
        gpu = _gpu_providers(bundle, options, tensorrt)
        self._detector = _session(bundle, "detector.onnx", threads, options, gpu)
        # A provider may be installed and still find no device: what the session really got decides.
        on_gpu = providers.CUDA in self._detector.get_providers()
        self.compiles_by_shape, self._device = on_gpu, "cuda" if on_gpu else "cpu"
        self._outputs = [output.name for output in self._detector.get_outputs()]
        heads = [name for name in GRAPHS[bundle.manifest.task] if name != "detector.onnx"]
        self._heads = {name: _session(bundle, name, threads, options, gpu) for name in heads}

    def detect(
        self, images: NDArray[np.uint8], sizes_hw: NDArray[np.int64], proposals: NDArray[np.float32] | None = None
    ) -> DetectorOutput:
        binding = self._detector.io_binding()
        binding.bind_cpu_input("images", images)
        binding.bind_cpu_input("sizes", sizes_hw)
        if proposals is not None:
            binding.bind_cpu_input("proposals", proposals)
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

    def lanes(self) -> tuple[Engine, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """Sessions free their memory when the last reference goes."""


class TensorRtEngine(OnnxEngine):
    """What TensorRT takes of the graphs, the rest on CUDA. Raises RuntimeError where there is no such provider."""

    name = "tensorrt"

    def __init__(self, bundle: Bundle, threads: int, options: EngineOptions | None = None) -> None:
        if providers.TENSORRT not in ort.get_available_providers():
            raise RuntimeError("this onnxruntime has no TensorRT provider; install rcnn[gpu] and TensorRT")
        super().__init__(bundle, threads, options, tensorrt=True)


def _gpu_providers(bundle: Bundle, options: EngineOptions, tensorrt: bool) -> list[tuple[str, dict[str, Any]]]:
    chosen = []
    if tensorrt:
        folder = options.cache.working_folder(("tensorrt", ort.__version__, bundle.digest))
        chosen.append(providers.tensorrt(folder))
    if providers.CUDA in ort.get_available_providers():
        # CUDA and cuDNN come as wheels, in whose folders the loader does not look by itself.
        ort.preload_dlls(directory="")
        chosen.append(providers.cuda(options.gpu_memory_bytes))
    return chosen


def _session(
    bundle: Bundle, graph: str, threads: int, options: EngineOptions, gpu: list[tuple[str, dict[str, Any]]]
) -> ort.InferenceSession:
    """On CPU from the cache's optimised graph where it can be kept there; a GPU's own caches are its provider's."""
    path = bundle.path(graph)
    if gpu:
        return ort.InferenceSession(str(path), _session_options(threads), providers=[*gpu, providers.CPU])
    key = ("onnx", ort.__version__, *sorted(cpu_features()), bundle.digest, graph)
    folder = options.cache.get(key, lambda folder: _write_optimised(path, folder, threads))
    settings = _session_options(threads)
    if folder is not None:
        path = folder / _OPTIMISED
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it has been optimised
    return ort.InferenceSession(str(path), settings, providers=[providers.CPU])


def _write_optimised(path: Path, folder: Path, threads: int) -> None:
    """The graph as this CPU runs it: fused, constants folded, convolutions in its own blocked layout."""
    settings = _session_options(threads)
    settings.optimized_model_filepath = str(folder / _OPTIMISED)
    # Weights in a file of their own are mapped, not copied through the protobuf parser.
    settings.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
    settings.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    ort.InferenceSession(str(path), settings, providers=[providers.CPU])


def _session_options(threads: int) -> ort.SessionOptions:
    ort.disable_telemetry_events()
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    # Spinning threads starve decode and paste, which share the same few cores.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    return settings
