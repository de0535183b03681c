"""Which engine serves a bundle here: the one asked for, or the fastest of those installed, measured once."""

import importlib
import json
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from service.bundle import GRAPHS, Bundle
from service.engine.base import Engine, EngineOptions
from service.engine.cache import Log
from service.engine.cpu import cpu_features
from service.engine.fake import FakeEngine
from service.engine.self_contained import check_self_contained
from service.errors import BundleInvalid
from service.proposals import windows

EngineName = Literal["auto", "onnx", "openvino", "tensorrt", "fake"]

# name -> module here, class, distributions that bring it
_ENGINES = {
    "onnx": ("onnx", "OnnxEngine", ("onnxruntime", "onnxruntime-gpu")),
    "openvino": ("openvino", "OpenVinoEngine", ("openvino",)),
    "tensorrt": ("onnx", "TensorRtEngine", ("onnxruntime-gpu",)),
}
_AUTO = ("onnx", "openvino")  # TensorRT builds for minutes: only when asked for
_TRIALS = 3
_CHOICE = "choice.json"
_alone = threading.Lock()  # models load side by side; what is timed runs by itself


def create_engine(
    name: EngineName, bundle: Bundle, threads: int, options: EngineOptions, fake_delay_s: float, log: Log
) -> Engine:
    """
    An engine with bundle loaded. `auto` times one image on the smallest canvas with each engine that is installed
    and, where the bundle names some, that it was judged on, and keeps the outcome in the cache for the next start.

    Raises BundleInvalid if a graph refers to other files, no engine is installed, the one asked for is not, or none can
    load the bundle.
    """
    if name == "fake":
        return FakeEngine(fake_delay_s, options.fault_file)
    for graph in GRAPHS[bundle.manifest.task]:
        check_self_contained(bundle.path(graph))
    judged_on = bundle.manifest.engines or _AUTO
    installed = {n: v for n in (judged_on if name == "auto" else (name,)) if (v := _version(n))}
    if not installed:
        raise BundleInvalid(f"engine {name}: not installed; install rcnn[core], rcnn[openvino] or rcnn[gpu]")

    def load(name: str) -> Engine:
        return _load(name, bundle, threads, options)

    if len(installed) == 1:
        engine = load(next(iter(installed)))
        log(f"engine {engine.name} ({engine.precision}): the only one {'installed' if name == 'auto' else 'asked for'}")
        return engine
    versions = [f"{n} {v}" for n, v in installed.items()]
    key = ("choice", *versions, *sorted(cpu_features()), str(threads), options.precision, bundle.digest)
    if before := _chosen_before(options.cache.find(key), load, log):
        return before
    with _alone:
        return _fastest(list(installed), key, bundle, options, load, log)


def _version(name: str) -> str | None:
    """The installed version of what brings the engine, or None. Read from metadata: importing takes a second."""
    for distribution in _ENGINES[name][2]:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _chosen_before(folder: Path | None, load: Callable[[str], Engine], log: Log) -> Engine | None:
    """The engine an earlier start found the fastest, or None if there was none or it does not load any more."""
    if folder is None:
        return None
    choice: dict[str, Any] = json.loads((folder / _CHOICE).read_bytes())
    try:
        engine = load(choice["engine"])
    except BundleInvalid as error:
        log(str(error))
        return None
    log(f"engine {engine.name} ({engine.precision}) was the fastest here at an earlier start: {choice['timed']}")
    return engine


def _fastest(
    names: list[str],
    key: tuple[str, ...],
    bundle: Bundle,
    options: EngineOptions,
    load: Callable[[str], Engine],
    log: Log,
) -> Engine:
    """The fastest of names, kept under key. Raises BundleInvalid, the first engine's, if none can load bundle."""
    engines, failures = _load_all(names, load)
    for failure in failures:
        log(str(failure))
    if not engines:
        raise failures[0]
    if len(engines) == 1:
        log(f"engine {engines[0].name} ({engines[0].precision}): the only one that loads this bundle")
        return engines[0]
    seconds = _medians_s(engines, bundle)
    best = engines.pop(int(np.argmin(seconds)))
    timed = ", ".join(f"{name} {s * 1e3:.1f} ms" for name, s in zip(names, seconds, strict=True))
    log(f"engine {best.name} ({best.precision}) is the fastest here: {timed}")
    for engine in engines:
        engine.close()
    choice = json.dumps({"engine": best.name, "timed": timed})
    options.cache.get(key, lambda folder: _write_text(folder / _CHOICE, choice))
    return best


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)


def _load_all(names: list[str], load: Callable[[str], Engine]) -> tuple[list[Engine], list[BundleInvalid]]:
    engines: list[Engine] = []
    failures: list[BundleInvalid] = []
    for name in names:
        try:
            engines.append(load(name))
        except BundleInvalid as error:
            failures.append(error)
    return engines, failures


def _load(name: str, bundle: Bundle, threads: int, options: EngineOptions) -> Engine:
    module, class_name, _ = _ENGINES[name]
    try:
        create = getattr(importlib.import_module(f"service.engine.{module}"), class_name)
        engine: Engine = create(bundle, threads, options)
    except Exception as error:
        raise BundleInvalid(f"engine {name} cannot load {bundle.root}: {error}") from error
    return engine


def _medians_s(engines: list[Engine], bundle: Bundle) -> list[float]:
    """Median seconds of each for one image of noise on the smallest canvas, taking turns; the first is left out."""
    canvas = min(bundle.manifest.preprocess.canvas_grid, key=lambda hw: hw[0] * hw[1])
    images = np.random.default_rng(0).integers(0, 256, (1, *canvas, 3), np.uint8)
    spec = bundle.manifest.proposals
    regions = () if spec is None else (windows(spec, canvas)[None],)
    seconds = np.empty((_TRIALS + 1, len(engines)))
    for turn in seconds:
        for index, engine in enumerate(engines):
            start = time.perf_counter()
            engine.detect(images, np.array([canvas], np.int64), *regions)
            turn[index] = time.perf_counter() - start
    return [float(median) for median in np.median(seconds[1:], axis=0)]
