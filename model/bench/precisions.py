"""A bundle on every CPU engine and its int8 copy on the one it is for, one golden image, in one alternating run."""

import time
from dataclasses import dataclass

import numpy as np

from model.installed_engines import installed_names
from service.bundle import Bundle
from service.detections import NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import Engine, EngineOptions
from service.engine.choice import EngineName, create_engine
from service.engine.cpu import cpu_features, has_bf16
from service.engine.precision import Precision
from service.images import Limits, decode
from service.preprocess import to_canvas

_LIMITS = Limits(50_000_000, 50_000_000)


@dataclass(frozen=True)
class Timed:
    """One way to run the graphs."""

    name: str
    median_ms: float  # of processor time
    ratio: float  # its median to that of the fastest way without int8


def timed(whole: Bundle, quantised: Bundle, rounds: int) -> list[Timed]:
    """
    From canvas to boxes and mask probabilities, on one thread, in processor time: other programs on the machine count
    for less so. Without int8 in fp32, and in bf16 where the CPU has it; the int8 copy as a server would run it. The
    order turns round every round, the first run is left out.
    """
    engines = {f"{name}, fp32": _engine(name, whole, "fp32") for name in installed_names()}
    if has_bf16(cpu_features()) and "openvino" in installed_names():
        engines["openvino, bf16"] = _engine("openvino", whole, "bf16")
    others = list(engines)
    own: EngineName = (quantised.manifest.engines or ("onnx",))[0]
    int8 = _engine(own, quantised, "auto")
    engines[f"{own}, int8" if int8.precision == "fp32" else f"{own}, int8, the rest {int8.precision}"] = int8
    work = _golden(whole)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name in list(engines) if turn % 2 else reversed(list(engines)):
            start = time.process_time()
            detect_batch(engines[name], [work])
            seconds[name].append(time.process_time() - start)
    for engine in engines.values():
        engine.close()
    medians_s = {name: float(np.median(row[1:])) for name, row in seconds.items()}
    fastest_s = min(medians_s[name] for name in others)
    return [Timed(name, value * 1e3, value / fastest_s) for name, value in medians_s.items()]


def _golden(bundle: Bundle) -> Work:
    """The first golden image, asked about as a request that names no options would, masks included."""
    image = decode(bundle.path(bundle.golden_images()[0]).read_bytes(), _LIMITS)
    canvas, geometry = to_canvas(image, bundle.manifest.preprocess)
    defaults = bundle.manifest.postprocess
    nms = NmsOptions(defaults.score_threshold, defaults.iou_threshold, "hard", False, defaults.max_detections, None)
    return Work(canvas, geometry.resized_hw, nms, bundle.manifest.task == "segmentation")


def _engine(name: EngineName, bundle: Bundle, precision: Precision) -> Engine:
    return create_engine(name, bundle, 1, EngineOptions(precision=precision), 0.0, lambda _: None)
