"""`rcnn gate calibrate` on a shipped bundle: the golden images are the labelled data."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.judge.calibration import Point, margin
from deploy.judge.commands import app
from tests.conftest import ZOO
from tests.integration.labelled import golden_dataset

pytestmark = pytest.mark.slow  # fourteen bundles are loaded

BUNDLE = ZOO / "blood-cells"
LOSS = 0.05


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, dict[str, Any]]:
    """Exit code, what was printed, the mapping."""
    root = tmp_path_factory.mktemp("golden")
    command = ["calibrate", str(BUNDLE), "--data", str(golden_dataset(BUNDLE, root)), "--engine", "onnx"]
    result = CliRunner().invoke(app, [*command, "--ap-loss", str(LOSS), "--out", str(root / "mapping.json")])
    return result.exit_code, result.stdout, json.loads((root / "mapping.json").read_text())


def test_what_is_worse_disagrees_more_and_loses_more(said: tuple[int, str, dict[str, Any]]) -> None:
    """The truth is what the bundle itself answered, so every loss is measured against a perfect AP."""
    points = {point["name"]: point for point in said[2]["points"]}
    for mild, grave in (
        ("NMS at IoU 0.6", "NMS at IoU 0.9"),
        ("score threshold 0.7", "score threshold 0.8"),
        ("images at 80%", "images at 60%"),
    ):
        assert points[mild]["disagreement"] < points[grave]["disagreement"]
        assert points[mild]["ap_loss"] < points[grave]["ap_loss"]
    quiet, loud = points["2% noise on the weights"], points["10% noise on the weights"]
    assert 0 < quiet["disagreement"] <= loud["disagreement"]  # of eighteen cells, both may hide the same one
    assert quiet["ap_loss"] < loud["ap_loss"]
    assert all(point["low"] <= point["high"] for point in points.values())


def test_the_margin_said_is_that_of_the_points(said: tuple[int, str, dict[str, Any]]) -> None:
    code, printed, mapping = said
    allowed = margin([Point(**point) for point in mapping["points"]], LOSS)
    assert allowed is not None and mapping["disagreement"] == allowed
    assert code == 0
    assert f"--disagreement {allowed:.4f}" in printed


def test_data_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    command = ["calibrate", str(BUNDLE), "--data", str(tmp_path), "--engine", "onnx"]
    assert CliRunner().invoke(app, command).exit_code == 2
