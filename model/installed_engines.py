"""The engines of this machine, one after the other, for what must hold on each of them."""

import importlib.util
from collections.abc import Iterator

from service.bundle import Bundle
from service.engine.base import Engine, EngineOptions
from service.engine.choice import EngineName, create_engine
from service.engine.threads import available_cpus

_PACKAGES: dict[EngineName, str] = {"onnx": "onnxruntime", "openvino": "openvino"}


def installed_names() -> list[EngineName]:
    return [name for name, package in _PACKAGES.items() if importlib.util.find_spec(package)]


def installed_engines(bundle: Bundle) -> Iterator[tuple[str, Engine]]:
    """
    Each that bundle is for, with it in fp32, closed after its turn: faster precisions trade digits, and have proofs of
    their own.
    """
    for name in installed_names():
        if bundle.manifest.engines and name not in bundle.manifest.engines:
            continue
        engine = create_engine(name, bundle, available_cpus(), EngineOptions(precision="fp32"), 0.0, lambda _: None)
        try:
            yield name, engine
        finally:
            engine.close()
