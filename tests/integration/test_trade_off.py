"""`rcnn trade-off` on a shipped bundle and a smaller one of it, on its own golden images."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from model.commands import app
from tests.conftest import ZOO
from tests.integration.labelled import golden_dataset

BUNDLE = str(ZOO / "blood-cells")


@pytest.mark.slow
def test_variants_are_judged_timed_and_drawn(tmp_path: Path) -> None:
    """Half the size is quicker and worse here: both are on the front. Names, figures and a picture come out."""
    data, out = golden_dataset(ZOO / "blood-cells", tmp_path), tmp_path / "out"
    variants = [f"{BUNDLE},engine=onnx,name=whole", f"{BUNDLE},engine=onnx,scale=0.5,name=half"]
    few = ["--timed-images", "1", "--rounds", "1", "--out", str(out)]
    result = CliRunner().invoke(app, ["trade-off", str(data), *variants, *few])
    assert result.exit_code == 0, result.output
    assert "whole (onnx, fp32)" in result.output and "half (onnx, fp32)" in result.output
    whole, half = json.loads((out / "trade-off.json").read_text())["variants"]
    assert whole["ratio"] == 1.0 and whole["ap"] > 0.95 > half["ap"] and set(half["by_class"]) >= {"RBC", "Platelets"}
    assert whole["graphs_mb"] == pytest.approx(half["graphs_mb"]) and half["latency_ms"] > 0
    with Image.open(out / "trade-off.png") as picture:
        assert picture.width > 600


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    """No such wish, no such bundle: one line, exit code 1."""
    data = golden_dataset(ZOO / "blood-cells", tmp_path)
    for variant, words in ((f"{BUNDLE},engine=steam", "got steam"), (str(tmp_path / "none"), "none")):
        result = CliRunner().invoke(app, ["trade-off", str(data), variant])
        assert result.exit_code == 1 and words in result.output
