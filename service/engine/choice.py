"""Which engine serves a bundle here: the one asked for, or the fastest of those installed, measured once."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from service.bundle import Bundle
from service.engine.base import Engine
from service.engine.fake import FakeEngine
from service.errors import BundleInvalid

EngineName = Literal["auto", "onnx", "openvino", "fake"]
Log = Callable[[str], None]

_CLASSES = {"onnx": ("onnxruntime", "OnnxEngine"), "openvino": ("openvino", "OpenVinoEngine")}
_TRIALS = 3


def create_engine(name: EngineName, bundle: Bundle, threads: int, fake_delay_s: float, log: Log) -> Engine:
    """
    An engine with bundle loaded. `auto` times one image on the smallest canvas with each engine that is installed.

    Raises BundleInvalid if no engine is installed, the one asked for is not, or none can load the bundle.
    """
    if name == "fake":
        return FakeEngine(fake_delay_s)
    wanted = list(_CLASSES) if name == "auto" else [name]
    installed = [candidate for candidate in wanted if importlib.util.find_spec(_CLASSES[candidate][0])]
    if not installed:
        raise BundleInvalid(f"engine {name}: not installed; install rcnn[core] or rcnn[openvino]")
    engines = _load_all(installed, bundle, threads, log)
    if len(engines) == 1:
        log(f"engine {engines[0].name}: the only one {'installed' if name == 'auto' else 'asked for'}")
        return engines[0]
    seconds = [_median_s(engine, bundle) for engine in engines]
    best = int(np.argmin(seconds))
    timed = ", ".join(f"{engine.name} {s * 1e3:.1f} ms" for engine, s in zip(engines, seconds, strict=True))
    log(f"engine {engines[best].name} is the fastest here: {timed}")
    for index, engine in enumerate(engines):
        if index != best:
            engine.close()
    return engines[best]


def _load_all(names: list[str], bundle: Bundle, threads: int, log: Log) -> list[Engine]:
    """Every engine that can load bundle. Raises BundleInvalid, the first one's, if none can."""
    engines: list[Engine] = []
    failures: list[BundleInvalid] = []
    for name in names:
        try:
            engines.append(_load(name, bundle, threads))
        except BundleInvalid as error:
            failures.append(error)
            log(str(error))
    if not engines:
        raise failures[0]
    return engines


def _load(name: str, bundle: Bundle, threads: int) -> Engine:
    try:
        module = importlib.import_module(f"service.engine.{name}")
        engine: Engine = getattr(module, _CLASSES[name][1])(bundle, threads)
    except Exception as error:
        raise BundleInvalid(f"engine {name} cannot load {bundle.root}: {error}") from error
    return engine


def _median_s(engine: Engine, bundle: Bundle) -> float:
    """Median seconds for one image of noise on the smallest canvas, the first run left out."""
    canvas = min(bundle.manifest.preprocess.canvas_grid, key=lambda hw: hw[0] * hw[1])
    images = np.random.default_rng(0).integers(0, 256, (1, *canvas, 3), np.uint8)
    seconds = []
    for _ in range(_TRIALS + 1):
        start = time.perf_counter()
        engine.detect(images, np.array([canvas], np.int64))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))
