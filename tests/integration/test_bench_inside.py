"""What `make bench` measures inside the service runs, and compares like with like."""

import numpy as np
import pytest

from loadtests.bench.inside import bare_engine, measured, ratios
from tests.conftest import ZOO


@pytest.mark.slow
def test_masks_are_compared_at_equal_answers() -> None:
    """Both ways once: the very same strings."""
    found = measured("masks", "--rounds", "1")
    assert found["equal"] is True
    assert set(found["seconds"]) == {"ours", "torchvision and pycocotools"}


@pytest.mark.slow
def test_every_way_finds_the_same_in_the_same_image() -> None:
    """torchvision eager, its export, our graphs on both engines: equal numbers; one in ten may differ below fp32."""
    found = measured("engines", "--model", "blood-cells", "--rounds", "1")["detections"]
    assert {"torchvision eager", "ours, ONNX Runtime", "ours, OpenVINO", "ours, OpenVINO int8"} <= set(found)
    count = found["torchvision eager"]
    assert count > 10
    for way, detections in found.items():
        assert abs(detections - count) <= (count // 10 if way.endswith(("bf16", "int8")) else 0), way


def test_the_bare_engine_answers_in_images_a_second() -> None:
    """As often as it is asked."""
    with bare_engine(str(ZOO / "blood-cells"), "onnx", 1) as run:
        assert run(0.1) > 0 and run(0.1) > 0


def test_ratios_are_taken_round_by_round() -> None:
    """A slow moment of the machine slows both sides of its own round only."""
    np.testing.assert_allclose(ratios([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]), (3.0, 2.0, 4.0))
