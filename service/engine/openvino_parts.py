"""
A graph for OpenVINO in parts that run one after another, so that bf16 rounds no coordinate.

bf16 keeps eight bits: a corner at 300 px comes to lie up to a pixel off. Asked for bf16, OpenVINO rounds whatever lies
between two layers it speeds up, proposals included, and takes no exceptions. So the graph is cut in three: the trunk
and the RPN; all that makes regions of their outputs, which is little work and stays in fp32; and the pooling with the
heads after it, which reads the regions as they come.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Precision = Literal["f32", "bf16"]  # as OpenVINO calls them
Node = Any  # openvino has no types of its own
Model = Any

_POOLING = frozenset({"ROIAlign", "ROIPooling"})
_CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution"})
_FUSED = frozenset({"Add", "Relu"})  # with the convolution before them: bias and activation
_TRUNK, _REGIONS, _HEADS, _PREDICTIONS = range(4)
_PRECISIONS: tuple[Precision, ...] = ("bf16", "f32", "bf16", "f32")


@dataclass
class _Part:
    """What a part gets and gives, by name, as the cut finds it."""

    parameters: dict[str, Any] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)


def in_parts(ov: Any, model: Model, precision: Precision) -> list[tuple[Model, Precision]]:
    """
    What to compile, in the order to run it, and how: for bf16 up to four parts, else the model as one.

    A part's inputs are called as the model's, or as an output of a part before it; the outputs of all parts include the
    model's. The model is used up. ov is the openvino module, which only an engine imports.
    """
    nodes = model.get_ordered_ops()
    models = [(model, precision)]
    if precision == "bf16" and any(node.get_type_name() in _POOLING for node in nodes):
        parts = _cut(ov, nodes)
        models = [(_built(ov, part), kind) for part, kind in zip(parts, _PRECISIONS, strict=True) if part.results]
    for part, _ in models:
        _lay_out_for_pooling(ov, part)
    return models


def _cut(ov: Any, nodes: Sequence[Node]) -> list[_Part]:
    """Every edge between two parts becomes an output of the one and an input of the other."""
    part_of = _parts_of(nodes)
    parts, names = [_Part() for _ in _PRECISIONS], dict[str, str]()
    for node in nodes:
        if node.get_name() not in part_of or node.get_type_name() == "Parameter":
            continue
        here = part_of[node.get_name()]
        if node.get_type_name() == "Result":
            parts[here].results.append(node)
            continue
        for socket in node.inputs():
            source = socket.get_source_output()
            there = part_of.get(source.get_node().get_name(), here)  # constants belong to whoever uses them
            if source.get_node().get_type_name() == "Parameter":
                name = source.get_node().friendly_name
            elif there != here:
                name = _offered(ov, source, parts[there], names)
            else:
                continue
            if name not in parts[here].parameters:
                parts[here].parameters[name] = _parameter(ov, source, name)
            socket.replace_source_output(parts[here].parameters[name].output(0))
    return parts


def _parts_of(nodes: Sequence[Node]) -> dict[str, int]:
    """The part of each node that depends on the inputs, by name."""
    pooled = _below(nodes, lambda node: node.get_type_name() in _POOLING)
    variable = _below(nodes, lambda node: node.get_type_name() == "Parameter")
    trunk, predicted = _trunk(variable, pooled), _predictions(nodes, pooled)
    part_of: dict[str, int] = {}
    for name, node in variable.items():
        made_in = (
            _TRUNK if name in trunk else _PREDICTIONS if name in predicted else _HEADS if name in pooled else _REGIONS
        )
        if node.get_type_name() == "Result":  # where its value is made
            made_in = part_of[node.input_value(0).get_node().get_name()]
        part_of[name] = made_in
    return part_of


def _predictions(nodes: Sequence[Node], pooled: dict[str, Node]) -> dict[str, Node]:
    """The fully connected layers after which no layer with weights comes, and what depends on them."""
    weighted = [node for node in pooled.values() if node.get_type_name() in {"MatMul", *_CONVOLUTIONS}]
    followed = set[str]().union(*(_above([node]) - {node.get_name()} for node in weighted))
    last = {node.get_name() for node in weighted if node.get_name() not in followed}
    return _below(nodes, lambda node: node.get_type_name() == "MatMul" and node.get_name() in last)


def _trunk(variable: dict[str, Node], pooled: dict[str, Node]) -> set[str]:
    """The convolutions before the pooling, what they are fused with, and all that leads to them."""
    convolved: dict[str, Node] = {}
    for name, node in variable.items():
        sources = {value.get_node().get_name() for value in node.input_values()} & variable.keys()
        is_fused = node.get_type_name() in _FUSED and sources <= convolved.keys()
        if name not in pooled and (node.get_type_name() in _CONVOLUTIONS or is_fused):
            convolved[name] = node
    return _above(convolved.values())


def _below(nodes: Sequence[Node], is_source: Callable[[Node], bool]) -> dict[str, Node]:
    """The sources and what depends on them, by name."""
    found: dict[str, Node] = {}
    for node in nodes:
        if is_source(node) or any(value.get_node().get_name() in found for value in node.input_values()):
            found[node.get_name()] = node
    return found


def _above(nodes: Iterable[Node]) -> set[str]:
    """The names of nodes and of what they depend on."""
    found, waiting = set[str](), list(nodes)
    while waiting:
        node = waiting.pop()
        if node.get_name() not in found:
            found.add(node.get_name())
            waiting += [value.get_node() for value in node.input_values()]
    return found


def _offered(ov: Any, source: Any, part: _Part, names: dict[str, str]) -> str:
    """The name of a value that another part needs: an output of the model's already, or made one here."""
    key = f"{source.get_node().get_name()}:{source.get_index()}"
    if key not in names:
        results = [socket for socket in source.get_target_inputs() if socket.get_node().get_type_name() == "Result"]
        names[key] = source.get_any_name() if results else f"cut_{len(names)}"
        if not results:
            source.add_names({names[key]})
            part.results.append(ov.opset13.result(source))
    return names[key]


def _parameter(ov: Any, source: Any, name: str) -> Node:
    parameter = ov.opset13.parameter(source.get_partial_shape(), source.get_element_type(), name=name)
    parameter.output(0).set_names({name})
    return parameter


def _built(ov: Any, part: _Part) -> Model:
    return ov.Model(part.results, list(part.parameters.values()))


def _lay_out_for_pooling(ov: Any, model: Model) -> None:
    """
    Put a convolution that changes nothing between features that are an input and their pooling.

    Inputs lie plane by plane, where pooling takes ten times as long (83 for 8 ms, 1000 regions in bf16); a
    convolution's output lies as OpenVINO likes it best. Times one is exact, in bf16 too.
    """
    for node in model.get_ordered_ops():
        features = node.input_value(0) if node.get_type_name() == "ROIAlign" else None
        if features is None or features.get_node().get_type_name() != "Parameter":
            continue
        channels = features.get_partial_shape()[1]
        if channels.is_static:
            ones = ov.opset13.constant(np.ones((channels.get_length(), 1, 1, 1, 1), np.float32))
            same = ov.opset13.group_convolution(features, ones, [1, 1], [0, 0], [0, 0], [1, 1])
            node.input(0).replace_source_output(same.output(0))
    model.validate_nodes_and_infer_types()
