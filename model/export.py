"""
A trained model -> its ONNX graphs, with weights stored as fp16.

Weights are rounded to fp16 before tracing, so the graph and the eager model it is compared with hold the same numbers.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torchvision.models.detection import FasterRCNN

from model.graph import DetectorGraph, KeypointHeadGraph, MaskHeadGraph

OPSET = 17
SMALLEST_COMPRESSED = 1024  # weights; below it the Cast node costs more than it saves
Axes = dict[str, dict[int, str]]


@dataclass(frozen=True)
class Signature:
    """Names of a graph's inputs and outputs, and which of their axes are free."""

    inputs: list[str]
    outputs: list[str]
    axes: Axes


def export_graphs(
    model: FasterRCNN,
    out_dir: Path,
    candidates: int,
    mean: list[float],
    std: list[float],
    *,
    opset: int = OPSET,
    half_trunk: bool = False,
) -> list[Path]:
    """
    Write detector.onnx and the head its task needs into out_dir; model's weights are rounded in place.

    half_trunk computes backbone and FPN in fp16; boxes and heads stay fp32. Raises ValueError if a weight has no
    fp16 form.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_weights(model)
    learn_pool_scales(model)
    detector = DetectorGraph(model, candidates, mean, std, half_trunk=half_trunk).eval()
    images, sizes = _example_canvas()
    features = [f"features_{level}" for level in range(len(detector.box_pool.names))]
    outputs = ["boxes", "scores", "labels"] + (features if detector.with_features else [])
    axes: Axes = {"images": {0: "batch", 1: "height", 2: "width"}, "sizes": {0: "batch"}}
    axes |= {name: {0: "batch", 1: "candidates"} for name in outputs[:3]} | _feature_axes(outputs[3:])
    paths = [out_dir / "detector.onnx"]
    inputs = {"images": images, "sizes": sizes}
    if detector.takes_proposals:
        inputs["proposals"] = torch.tensor([[[8.0, 8, 60, 70], [20, 30, 200, 150]], [[0, 0, 20, 20], [0, 0, 0, 0]]])
        axes["proposals"] = {0: "batch", 1: "proposals"}
    _trace(detector, tuple(inputs.values()), paths[0], Signature(list(inputs), outputs, axes), opset)
    if detector.with_features:
        paths.append(_export_head(model, detector(images, sizes)[3:], features, out_dir, opset))
    return paths


def _export_head(
    model: FasterRCNN, features: tuple[torch.Tensor, ...], names: list[str], out_dir: Path, opset: int
) -> Path:
    """The graph that looks at chosen regions again: masks or keypoints."""
    rois = torch.tensor([[0, 8.0, 8.0, 60.0, 70.0], [1, 20.0, 30.0, 200.0, 150.0], [1, 0.0, 0.0, 20.0, 20.0]])
    graph: nn.Module
    if model.roi_heads.has_mask():
        graph, regions, output, file = MaskHeadGraph(model), ["rois", "labels"], "masks", "mask_head.onnx"
        inputs = (*features, rois, torch.tensor([1, 1, 1]))
    else:
        graph, regions, output, file = KeypointHeadGraph(model), ["rois"], "heatmaps", "keypoint_head.onnx"
        inputs = (*features, rois)
    axes = _feature_axes(names) | {name: {0: "regions"} for name in (*regions, output)}
    _trace(graph.eval(), inputs, out_dir / file, Signature([*names, *regions], [output], axes), opset)
    return out_dir / file


def round_weights(model: nn.Module) -> None:
    """Round every large matrix or kernel to the nearest fp16 value, keeping it fp32. Raises ValueError beyond fp16."""
    for name, parameter in model.named_parameters():
        if _is_compressed(parameter.shape):
            parameter.data = parameter.data.half().float()
            if not torch.isfinite(parameter.data).all():
                raise ValueError(
                    f"{name} holds values beyond fp16 (65504) or not finite; such weights cannot be stored"
                )


def _is_compressed(shape: Sequence[int]) -> bool:
    """Vectors stay fp32: they are small, and a running variance may be far below what fp16 holds."""
    return len(shape) >= 2 and math.prod(shape) >= SMALLEST_COMPRESSED


@torch.no_grad()
def learn_pool_scales(model: FasterRCNN) -> None:
    """Run the eager model once: torchvision's RoI pools infer their scales from the first image they see."""
    model.eval()
    features = model.backbone(torch.zeros(1, 3, 256, 256))
    rois = [torch.tensor([[0.0, 0.0, 32.0, 32.0]])]
    heads = model.roi_heads
    pools = [heads.box_roi_pool]
    pools += [heads.mask_roi_pool] if heads.has_mask() else []
    pools += [heads.keypoint_roi_pool] if heads.has_keypoint() else []
    for pool in pools:
        pool(features, rois, [(256, 256)])


def _example_canvas() -> tuple[torch.Tensor, torch.Tensor]:
    """Two canvases of noise with different valid sizes, to trace with."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 192, 256, 3), dtype=torch.uint8, generator=generator)
    return images, torch.tensor([[192, 256], [150, 200]])


def _feature_axes(names: Sequence[str]) -> Axes:
    return {name: {0: "batch", 2: f"{name}_h", 3: f"{name}_w"} for name in names}


@torch.no_grad()
def _trace(graph: nn.Module, inputs: tuple[torch.Tensor, ...], path: Path, signature: Signature, opset: int) -> None:
    with warnings.catch_warnings():
        # The tracer warns about every Python value it turns into a constant; parity.py is what judges the result.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            inputs,
            str(path),
            dynamo=False,  # torchvision's two-stage models do not export by dynamo (torchvision issue 9306)
            opset_version=opset,
            input_names=signature.inputs,
            output_names=signature.outputs,
            dynamic_axes=signature.axes,
            # BatchNorm stays apart: folded into the convolutions it would change the rounded weights.
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    compressed = compress_weights(onnx.load(str(path)))
    onnx.checker.check_model(compressed)
    onnx.save(compressed, str(path))


def compress_weights(graph_model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large fp32 weights as fp16 followed by a Cast; engines fold the Cast away when they load the graph."""
    graph = graph_model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or not _is_compressed(weight.dims):
            continue
        stored = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name + "_fp16")
        casts.append(helper.make_node("Cast", [stored.name], [weight.name], to=TensorProto.FLOAT))
        weight.CopyFrom(stored)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)
    return graph_model
