"""Releases made from a bundle: worse in ways that happen, and different in ways that do not matter."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

from model.quantise import Quantiser
from service.bundle import read_bundle, write_bundle

Weights = NDArray[np.float32]
_SQUEEZED, _PROPOSALS = 0.75, 300


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


def squeeze(model: onnx.ModelProto) -> None:
    """See images at three quarters of their width, as by bringing 4:3 to a square, and widen the boxes again."""
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "images":
                node.input[place] = "proof_squeezed"
        for place, name in enumerate(node.output):
            if name == "boxes":
                node.output[place] = "proof_narrow_boxes"
    constants: dict[str, NDArray[Any]] = {
        "proof_axis": np.array(2, np.int64),
        "proof_zero": np.array(0, np.int64),
        "proof_one": np.array(1, np.int64),
        "proof_share": np.array(_SQUEEZED, np.float32),
        "proof_widening": np.array([1 / _SQUEEZED, 1, 1 / _SQUEEZED, 1], np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    before = [
        helper.make_node("Shape", ["images"], ["proof_shape"]),
        helper.make_node("Gather", ["proof_shape", "proof_axis"], ["proof_width"]),
        helper.make_node("Range", ["proof_zero", "proof_width", "proof_one"], ["proof_columns"]),
        helper.make_node("Cast", ["proof_columns"], ["proof_wide_columns"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Div", ["proof_wide_columns", "proof_share"], ["proof_from"]),
        helper.make_node("Cast", ["proof_from"], ["proof_whole"], to=onnx.TensorProto.INT64),
        helper.make_node("Sub", ["proof_width", "proof_one"], ["proof_last"]),
        helper.make_node("Min", ["proof_whole", "proof_last"], ["proof_taken"]),
        helper.make_node("Gather", ["images", "proof_taken"], ["proof_squeezed"], axis=2),
    ]
    for node in reversed(before):
        model.graph.node.insert(0, node)
    model.graph.node.append(helper.make_node("Mul", ["proof_narrow_boxes", "proof_widening"], ["boxes"]))


def with_fewer_proposals(most: int) -> Callable[[onnx.ModelProto], None]:
    """At most so many regions are looked at, where the graph says 300: small proofs on small machines."""

    def change(model: onnx.ModelProto) -> None:
        limits = {name for node in model.graph.node if node.op_type == "Min" for name in node.input}
        tensors = [tensor for tensor in model.graph.initializer if tensor.name in limits]
        tensors += [n.attribute[0].t for n in model.graph.node if n.op_type == "Constant" and n.output[0] in limits]
        for tensor in tensors:
            value = numpy_helper.to_array(tensor)
            if value.reshape(-1).tolist() == [_PROPOSALS]:
                tensor.CopyFrom(numpy_helper.from_array(np.full_like(value, most), tensor.name))

    return change


def compiled_anew(model: onnx.ModelProto) -> None:
    """As ONNX Runtime's own optimiser writes it: constants folded, operators fused, casts gone."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = f"{folder}/optimised.onnx"
        onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        model.CopyFrom(onnx.load(options.optimized_model_filepath))


def blindly_quantised(source: Path, root: Path) -> Path:
    """In int8, the ranges of activations taken from one grey image: calibrated on nothing."""
    altered(source, root)
    with tempfile.TemporaryDirectory() as folder:
        grey, target = Path(folder) / "grey.png", Path(folder) / "detector.onnx"
        Image.new("RGB", (64, 64), (128, 128, 128)).save(grey)
        Quantiser(read_bundle(root), [grey], "minmax", Path(folder)).write(target)
        shutil.copy(target, root / "detector.onnx")
    manifest = read_bundle(source).manifest.model_dump(mode="json", exclude={"files", "schema_version"})
    write_bundle(root, manifest)
    return root


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
