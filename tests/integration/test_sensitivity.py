"""Which layers cost most, on a shipped bundle whose layers are spoilt by known amounts."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from rich.progress import Progress

from model.quantise import Layers
from model.sensitivity import Sensitivity, by_layer, plans
from service.bundle import read_bundle
from tests.conftest import ZOO

BUNDLE = read_bundle(ZOO / "blood-cells")
NOISE = {
    "/box_head/fc7/Gemm": 0.05,
    "/backbone/fpn/layer_blocks.0/layer_blocks.0.0/Conv": 1.0,
    "/box_head/fc6/Gemm": 0.0,
}


class Spoiling:
    """Writes the detector with noise on the weights of every layer that is not left out."""

    layers = Layers(tuple(NOISE), {}, {})

    def write(self, target: Path, left_out: Collection[str] = ()) -> tuple[str, ...]:
        graph = onnx.load(BUNDLE.path("detector.onnx"))
        weights = {tensor.name: tensor for tensor in graph.graph.initializer}
        maker = {output: node for node in graph.graph.node for output in node.output}
        for node in graph.graph.node:
            if NOISE.get(node.name) and node.name not in left_out:
                tensor = weights[maker[node.input[1]].input[0]]  # through the Cast from fp16
                values = numpy_helper.to_array(tensor)
                noise = np.random.default_rng(0).normal(0, NOISE[node.name] * values.std(), values.shape)
                tensor.CopyFrom(numpy_helper.from_array((values + noise).astype(values.dtype), tensor.name))
        onnx.save(graph, target)
        return tuple(name for name in NOISE if name not in left_out)


def test_the_layer_that_moves_answers_most_is_the_first_named(tmp_path: Path) -> None:
    """In order of the noise; a layer that is as it was moves nothing."""
    paths = [BUNDLE.path(BUNDLE.golden_images()[0])]
    found = by_layer(Spoiling(), BUNDLE, paths, "onnx", tmp_path, Progress(disable=True))
    assert [one.layer for one in found] == sorted(NOISE, key=lambda name: -NOISE[name])
    assert found[0].moved > 3 * found[1].moved > 0 and found[2].moved < 1e-6


def test_plans_leave_out_twice_as_many_each_time_and_never_all() -> None:
    """The most costly first; who is content with the first plan ranks nothing."""
    ranking = [Sensitivity(name, 1.0) for name in "abcde"]
    assert ["".join(plan) for plan in plans(lambda: ranking)] == ["", "a", "ab", "abcd"]
    assert next(plans(lambda: [][1])) == ()
