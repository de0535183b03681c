"""Releases made from a bundle: worse in ways that happen, and different in ways that do not matter."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from service.bundle import read_bundle, write_bundle

Weights = NDArray[np.float32]


def altered(
    source: Path,
    root: Path,
    manifest_changes: dict[str, Any] | None = None,
    graph: str = "detector.onnx",
    change: Callable[[onnx.ModelProto], None] | None = None,
) -> Path:
    """A copy of the bundle in source at root without its golden images, parts of its manifest or a graph changed."""
    bundle = read_bundle(source)
    shutil.copytree(bundle.root, root, ignore=shutil.ignore_patterns("golden"))
    if change is not None:
        model = onnx.load(root / graph)
        change(model)
        onnx.save(model, root / graph)
    manifest = bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"})
    for name, value in (manifest_changes or {}).items():
        manifest[name] = manifest[name] | value if isinstance(value, dict) else value
    write_bundle(root, manifest)
    return root


def swap_channels(model: onnx.ModelProto) -> None:
    """Read blue as red: the images' last axis reversed before anything else."""
    order = numpy_helper.from_array(np.array([2, 1, 0], np.int64), "proof_channel_order")
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "images":
                node.input[place] = "proof_swapped"
    swap = helper.make_node("Gather", ["images", "proof_channel_order"], ["proof_swapped"], axis=3)
    model.graph.initializer.append(order)
    model.graph.node.insert(0, swap)


def weights_by(rule: Callable[[Weights], Weights]) -> Callable[[onnx.ModelProto], None]:
    """Every weight tensor of two axes or more put through rule."""

    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if len(tensor.dims) < 2 or tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
                continue
            old = numpy_helper.to_array(tensor)
            new = rule(old.astype(np.float32)).astype(old.dtype)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))

    return change


def noised(amount: float) -> Callable[[Weights], Weights]:
    """Normal noise of `amount` times the tensor's own spread."""
    rng = np.random.default_rng(0)
    return lambda old: (old + rng.normal(0, amount * old.std(), old.shape)).astype(np.float32)


def in_levels(levels: int) -> Callable[[Weights], Weights]:
    """Rounded to that many steps on each side of zero, one scale for the whole tensor: quantising without care."""

    def rule(old: Weights) -> Weights:
        step = max(float(np.abs(old).max()) / levels, 1e-12)
        return (np.round(old / step) * step).astype(np.float32)

    return rule


def in_bfloat16(old: Weights) -> Weights:
    bits = np.ascontiguousarray(old, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


def zeroed(old: Weights) -> Weights:
    return np.zeros_like(old)
