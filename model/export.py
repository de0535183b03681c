"""
A trained model -> a bundle: two ONNX graphs with fp16 weights, golden examples, manifest.

Weights are rounded to fp16 before tracing, so the graph and the eager model it is compared with hold the same numbers.
"""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torchvision.models.detection import FasterRCNN

from model.graph import DetectorGraph, MaskHeadGraph

OPSET = 17
SMALLEST_COMPRESSED = 1024  # weights; below it the Cast node costs more than it saves
_FEATURES = ["features_0", "features_1", "features_2", "features_3"]


def export_graphs(model: FasterRCNN, out_dir: Path, candidates: int, mean: list[float], std: list[float]) -> list[Path]:
    """Write detector.onnx and, for a Mask R-CNN, mask_head.onnx into out_dir; model's weights are rounded in place."""
    out_dir.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_weights(model)
    learn_pool_scales(model)
    detector = DetectorGraph(model, candidates, mean, std).eval()
    images, sizes = _example_canvas()
    outputs = ["boxes", "scores", "labels"] + (_FEATURES if detector.with_features else [])
    paths = [out_dir / "detector.onnx"]
    _trace(detector, (images, sizes), paths[0], ["images", "sizes"], outputs, _detector_axes(outputs))
    if detector.with_features:
        paths.append(out_dir / "mask_head.onnx")
        features = detector(images, sizes)[3:]
        rois = torch.tensor([[0, 8.0, 8.0, 60.0, 70.0], [1, 20.0, 30.0, 200.0, 150.0], [1, 0.0, 0.0, 20.0, 20.0]])
        axes = {name: {0: "batch", 2: f"{name}_h", 3: f"{name}_w"} for name in _FEATURES}
        axes |= {name: {0: "regions"} for name in ("rois", "labels", "masks")}
        inputs = (*features, rois, torch.tensor([1, 1, 1]))
        _trace(MaskHeadGraph(model).eval(), inputs, paths[1], [*_FEATURES, "rois", "labels"], ["masks"], axes)
    return paths


def round_weights(model: nn.Module) -> None:
    """Round every large parameter to the nearest fp16 value, keeping it fp32."""
    for parameter in model.parameters():
        if parameter.numel() >= SMALLEST_COMPRESSED:
            parameter.data = parameter.data.half().float()


@torch.no_grad()
def learn_pool_scales(model: FasterRCNN) -> None:
    """Run the eager model once: torchvision's RoI pools infer their scales from the first image they see."""
    model.eval()
    features = model.backbone(torch.zeros(1, 3, 256, 256))
    rois = [torch.tensor([[0.0, 0.0, 32.0, 32.0]])]
    pools = [model.roi_heads.box_roi_pool] + ([model.roi_heads.mask_roi_pool] if model.roi_heads.has_mask() else [])
    for pool in pools:
        pool(features, rois, [(256, 256)])


def _example_canvas() -> tuple[torch.Tensor, torch.Tensor]:
    """Two canvases of noise with different valid sizes, to trace with."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 192, 256, 3), dtype=torch.uint8, generator=generator)
    return images, torch.tensor([[192, 256], [150, 200]])


def _detector_axes(outputs: list[str]) -> dict[str, dict[int, str]]:
    axes = {"images": {0: "batch", 1: "height", 2: "width"}, "sizes": {0: "batch"}}
    for name in outputs:
        axes[name] = (
            {0: "batch", 2: f"{name}_h", 3: f"{name}_w"} if "features" in name else {0: "batch", 1: "candidates"}
        )
    return axes


@torch.no_grad()
def _trace(
    graph: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    input_names: list[str],
    output_names: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    with warnings.catch_warnings():
        # The tracer warns about every Python value it turns into a constant; parity.py is what judges the result.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            inputs,
            str(path),
            dynamo=False,  # torchvision's two-stage models do not export by dynamo (torchvision issue 9306)
            opset_version=OPSET,
            input_names=input_names,
            output_names=output_names,
            dynamic_axes=axes,
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
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < SMALLEST_COMPRESSED:
            continue
        stored = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name + "_fp16")
        casts.append(helper.make_node("Cast", [stored.name], [weight.name], to=TensorProto.FLOAT))
        weight.CopyFrom(stored)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)
    return graph_model
