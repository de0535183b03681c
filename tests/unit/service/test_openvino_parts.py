"""Graphs in parts: the same answers as in one piece, and no coordinate in bf16."""

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import openvino
import pytest

from service.bundle import Bundle, read_bundle
from service.engine.base import EngineOptions
from service.engine.cpu import cpu_features, has_bf16
from service.engine.openvino import OpenVinoEngine
from service.engine.openvino_parts import in_parts
from tests.conftest import ZOO

CONVOLUTIONS = {"Convolution", "GroupConvolution"}


@functools.cache
def core() -> openvino.Core:
    return openvino.Core()


@functools.cache
def nuclei() -> Bundle:
    return read_bundle(ZOO / "nuclei")


def parts_of(graph: str, precision: Any = "bf16") -> list[tuple[Any, str]]:
    return in_parts(openvino, core().read_model(nuclei().path(graph)), precision)


def picture() -> dict[str, np.ndarray]:
    """A golden image in a canvas of its own, as the detector gets it."""
    image = cv2.imread(str(nuclei().path(nuclei().golden_images()[0])))[:256, :256, ::-1]
    return {"images": np.ascontiguousarray(image)[None], "sizes": np.array([image.shape[:2]])}


def run(models: Sequence[Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """All in fp32, whatever they ask for: what differs is the cut."""
    known = dict(inputs)
    for model in models:
        compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        names = {tensor: next(name for name in tensor.names if name in known) for tensor in compiled.inputs}
        for output, value in compiled({name: known[name] for name in names.values()}).items():
            known |= dict.fromkeys(output.names, value)
    return known


def test_parts_together_give_what_the_whole_gives() -> None:
    """Boxes, scores and labels of the detector, and the masks of regions on several levels."""
    whole = run([core().read_model(nuclei().path("detector.onnx"))], picture())
    parts = run([model for model, _ in parts_of("detector.onnx")], picture())
    features = [f"features_{level}" for level in range(4)]
    for name in ("boxes", "scores", *features):
        np.testing.assert_allclose(parts[name], whole[name], atol=2e-3)
    assert (parts["labels"] == whole["labels"]).all()
    corners = np.array([[0, 5, 9, 30, 30], [0, 20, 20, 200, 190], [0, 100, 3, 140, 60]], np.float32)
    regions = {name: whole[name] for name in features} | {"rois": corners, "labels": np.ones(3, np.int64)}
    masks = run([core().read_model(nuclei().path("mask_head.onnx"))], regions)["masks"]
    np.testing.assert_allclose(run([m for m, _ in parts_of("mask_head.onnx")], regions)["masks"], masks, atol=1e-5)


@pytest.mark.parametrize(
    ("graph", "precisions"), [("detector.onnx", ["bf16", "f32", "bf16", "f32"]), ("mask_head.onnx", ["f32", "bf16"])]
)
def test_regions_reach_the_pooling_as_they_were_made(graph: str, precisions: list[str]) -> None:
    """In fp32: the part that pools gets them as inputs, which OpenVINO does not round."""
    parts = parts_of(graph)
    assert [precision for _, precision in parts] == precisions
    pooling = [node for model, _ in parts for node in model.get_ordered_ops() if node.get_type_name() == "ROIAlign"]
    assert len(pooling) == 4
    assert {node.input_value(1).get_node().get_type_name() for node in pooling} == {"Parameter"}


def test_work_is_in_bf16_and_coordinates_are_not() -> None:
    """Every convolution in bf16; in fp32 none, and all that sorts, suppresses and decodes."""
    for model, precision in parts_of("detector.onnx"):
        kinds = {node.get_type_name() for node in model.get_ordered_ops()}
        assert bool(kinds & CONVOLUTIONS) == (precision == "bf16")
        assert not (kinds & {"TopK", "NonMaxSuppression", "NMSRotated", "Exp"}) or precision == "f32"


def test_in_fp32_and_without_pooling_a_graph_stays_whole() -> None:
    parameter = openvino.opset13.parameter([1, 3, 8, 8], name="x")
    plain = openvino.Model([openvino.opset13.relu(parameter)], [parameter])
    assert [precision for _, precision in in_parts(openvino, plain, "bf16")] == ["bf16"]
    assert [precision for _, precision in parts_of("detector.onnx", "f32")] == ["f32"]


@pytest.mark.skipif(not has_bf16(cpu_features()), reason="this CPU has no bf16")
def test_in_bf16_boxes_lie_within_a_fifth_of_a_pixel_of_fp32() -> None:
    """Those of the certain ones, up to 256 px from the corner; rounded regions would be up to one off."""
    asked = picture()
    exact = OpenVinoEngine(nuclei(), 2, EngineOptions("fp32")).detect(asked["images"], asked["sizes"])
    rounded = OpenVinoEngine(nuclei(), 2, EngineOptions("bf16")).detect(asked["images"], asked["sizes"])
    certain = rounded.scores.ravel() > 0.5
    apart = np.abs(rounded.boxes_xyxy.reshape(-1, 1, 4)[certain] - exact.boxes_xyxy.reshape(1, -1, 4)).max(-1).min(1)
    assert certain.sum() > 20 and apart.max() < 0.2 and np.median(apart) < 0.05
