"""Graphs made to reach out of their bundle, written with the real onnx."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from service.engine.self_contained import check_self_contained
from service.errors import BundleInvalid
from tests.conftest import ZOO


def outside(location: str) -> onnx.TensorProto:
    """A tensor whose values lie in the file at location."""
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def inside() -> onnx.TensorProto:
    return numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")


def graph(nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]) -> onnx.GraphProto:
    return helper.make_graph(nodes, "g", [], [], tensors)


def by_attribute(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return helper.make_model(graph([helper.make_node("Constant", [], ["c"], value=tensor)], []))


def by_branch(tensor: onnx.TensorProto) -> onnx.ModelProto:
    branch = graph([helper.make_node("Constant", [], ["c"], value=tensor)], [])
    return helper.make_model(graph([helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)], []))


def by_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor)]
    function = helper.make_function("d", "F", [], ["c"], nodes, [helper.make_opsetid("", 18)])
    return helper.make_model(graph([], []), functions=[function])


def by_sparse(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = helper.make_model(graph([], []))
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model


def by_training(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = helper.make_model(graph([], []))
    model.training_info.add().initialization.initializer.append(tensor)
    return model


WAYS = [
    lambda tensor: helper.make_model(graph([], [tensor])),
    by_attribute,
    by_branch,
    by_function,
    by_sparse,
    by_training,
]
PLACES = ["../../etc/passwd", "/etc/passwd", "weights.bin", ""]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
def test_no_tensor_may_lie_elsewhere(tmp_path: Path, way: Callable[..., onnx.ModelProto], place: str) -> None:
    """Above the folder, anywhere on the machine, or beside it: wherever in the graph the tensor hides."""
    path = tmp_path / "detector.onnx"
    path.write_bytes(way(outside(place)).SerializeToString())
    with pytest.raises(BundleInvalid, match="names another file for its values"):
        check_self_contained(path)
    path.write_bytes(way(inside()).SerializeToString())
    check_self_contained(path)


def test_only_one_of_the_two_marks_is_enough(tmp_path: Path) -> None:
    """A parser may look at either."""
    path = tmp_path / "detector.onnx"
    for field in ("data_location", "external_data"):
        tensor = outside("../x")
        tensor.ClearField(field)
        path.write_bytes(helper.make_model(graph([], [tensor])).SerializeToString())
        with pytest.raises(BundleInvalid, match="names another file"):
            check_self_contained(path)


def test_a_graph_compiled_elsewhere_is_refused(tmp_path: Path) -> None:
    """ONNX Runtime would read the file such a node names."""
    path = tmp_path / "detector.onnx"
    node = helper.make_node("EPContext", [], [], domain="com.microsoft", ep_cache_context="../x.bin", embed_mode=0)
    path.write_bytes(helper.make_model(graph([node], [])).SerializeToString())
    with pytest.raises(BundleInvalid, match="compiled graph"):
        check_self_contained(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a model",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x3b\x00",
        b"\x3a\x04\x0a\x7f\x00\x00",
        b"\xff" * 40,
        b"\x38\x01",
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, text, lengths beyond the end, groups, numbers without end, a number for a message."""
    path = tmp_path / "detector.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleInvalid, match="is no ONNX graph"):
        check_self_contained(path)


def test_a_graph_nested_without_end_is_refused(tmp_path: Path) -> None:
    """Before Python's own recursion limit says so."""
    model = b""
    for _ in range(300):  # graph -> node -> attribute -> graph
        for tag in (0x32, 0x2A, 0x0A):
            model = bytes([tag]) + _varint(len(model)) + model
    path = tmp_path / "detector.onnx"
    path.write_bytes(b"\x3a" + _varint(len(model)) + model)
    with pytest.raises(BundleInvalid, match="is no ONNX graph"):
        check_self_contained(path)


def _varint(value: int) -> bytes:
    more = bytearray()
    while value > 0x7F:
        more.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*more, value])


@pytest.mark.parametrize("path", sorted(ZOO.glob("**/*.onnx")), ids=lambda path: f"{path.parents[1].name}-{path.name}")
def test_the_shipped_models_are_self_contained(path: Path) -> None:
    """They had better be."""
    check_self_contained(path)
