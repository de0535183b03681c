"""What ONNX Runtime's GPU providers are told. Names and values as its documentation lists them, one reason each."""

from pathlib import Path
from typing import Any

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


def cuda(memory_bytes: int) -> tuple[str, dict[str, Any]]:
    """memory_bytes bounds the arena; 0 leaves it free."""
    options: dict[str, Any] = {
        # EXHAUSTIVE, the default, searches again for every new canvas: hundreds of milliseconds each.
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        # By powers of two the arena would take up to twice what the largest canvas needs.
        "arena_extend_strategy": "kSameAsRequested",
    }
    if memory_bytes:
        options["gpu_mem_limit"] = str(memory_bytes)
    return CUDA, options


def tensorrt(engine_folder: Path | None) -> tuple[str, dict[str, Any]]:
    """engine_folder keeps built engines and timings: building one takes minutes."""
    options: dict[str, Any] = {
        # Their output sizes depend on data, which splits the graph into many small engines.
        "trt_op_types_to_exclude": "NonMaxSuppression,NonZero,RoiAlign",
    }
    if engine_folder is not None:
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(engine_folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(engine_folder),
        }
    return TENSORRT, options
