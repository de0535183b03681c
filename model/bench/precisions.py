"""A bundle on every CPU engine and its int8 copy on the one it is for, one golden image, in one alternating run."""

import importlib.util
import time
from dataclasses import dataclass

import numpy as np

from service.bundle import Bundle
from service.engine.base import Engine, EngineOptions
from service.engine.choice import create_engine
from service.images import Limits, decode
from service.preprocess import to_canvas

_ENGINES = {"onnx": "onnxruntime", "openvino": "openvino"}
_LIMITS = Limits(50_000_000, 50_000_000)


@dataclass(frozen=True)
class Timed:
    """One way to run the detector."""

    name: str
    median_ms: float  # of processor time
    ratio: float  # its median to that of the fastest engine in fp32


def timed(whole: Bundle, quantised: Bundle, rounds: int) -> list[Timed]:
    """
    The detector alone, from canvas to candidates, on one thread, in processor time: other programs on the machine count
    for less so. The order turns round every round, the first run is left out.
    """
    engines = {f"{name}, fp32": _engine(name, whole) for name in _installed()}
    own = (quantised.manifest.engines or ("onnx",))[0]
    engines[f"{own}, int8"] = _engine(own, quantised)
    image = decode(whole.path(whole.golden_images()[0]).read_bytes(), _LIMITS)
    canvas, geometry = to_canvas(image, whole.manifest.preprocess)
    inputs = canvas[None], np.array([geometry.resized_hw], np.int64)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name in list(engines) if turn % 2 else reversed(list(engines)):
            start = time.process_time()
            engines[name].detect(*inputs)
            seconds[name].append(time.process_time() - start)
    for engine in engines.values():
        engine.close()
    medians_s = {name: float(np.median(row[1:])) for name, row in seconds.items()}
    fastest_s = min(value for name, value in medians_s.items() if name.endswith("fp32"))
    return [Timed(name, value * 1e3, value / fastest_s) for name, value in medians_s.items()]


def _installed() -> list[str]:
    return [name for name, package in _ENGINES.items() if importlib.util.find_spec(package)]


def _engine(name: str, bundle: Bundle) -> Engine:
    options = EngineOptions(precision="fp32")
    return create_engine(name, bundle, 1, options, 0.0, lambda _: None)  # type: ignore[arg-type]
