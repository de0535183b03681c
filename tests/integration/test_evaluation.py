"""`rcnn evaluate` on a shipped bundle: the golden images, labelled with what is expected of them."""

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from typer.testing import CliRunner

from model.commands import app
from tests.conftest import ZOO
from tests.integration.labelled import altered, golden_dataset

BUNDLE = ZOO / "blood-cells"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's golden images as a COCO dataset; the expected detections are the truth."""
    return golden_dataset(BUNDLE, tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model allowed to report two detections an image."""
    return altered(BUNDLE, tmp_path_factory.mktemp("blind") / "1", postprocess={"max_detections": 2})


@pytest.fixture(scope="module")
def evaluated(golden: Path, blind: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with metrics.json and report.html of the shipped bundle, compared with the blind one."""
    out = tmp_path_factory.mktemp("evaluated")
    command = ["evaluate", str(BUNDLE), str(golden), "--engine", "onnx", "--out", str(out), "--compare", str(blind)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return out


def test_what_is_expected_is_found(evaluated: Path) -> None:
    """All of it, AP near 1; being better than another model is no failure."""
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["operating_point"]["precision"] == metrics["operating_point"]["recall"] == 1.0
    assert metrics["box"]["AP50"] > 0.95
    assert {"detector", "decode"} <= set(metrics["stage_ms"]) and metrics["throughput_images_per_s"] > 0
    assert metrics["compared_with"]["AP"][0]["low"] > 0.3


def test_a_drop_in_ap_is_exit_code_one(golden: Path, blind: Path) -> None:
    """And is said in one line."""
    command = ["evaluate", str(blind), str(golden), "--engine", "onnx", "--compare", str(BUNDLE), "--max-drop", "0.05"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "at most 0.05 is allowed" in result.output


def test_a_dataset_of_other_classes_is_refused(golden: Path, tmp_path: Path) -> None:
    """Rather than judged with AP 0."""
    document = json.loads((golden / "val.json").read_text())
    for category in document["categories"]:
        category["name"] += "x"
    shutil.copytree(golden / "images", tmp_path / "images")
    (tmp_path / "val.json").write_text(json.dumps(document))
    result = CliRunner().invoke(app, ["evaluate", str(BUNDLE), str(tmp_path), "--engine", "onnx"])
    assert result.exit_code == 1 and "RBCx" in result.output and "finds RBC, WBC, Platelets" in result.output


def test_views_are_an_option_and_never_kept(golden: Path) -> None:
    """The answers with the mirror image are judged; the bundle keeps what it does alone; unknown views are named."""
    command = ["evaluate", str(BUNDLE), str(golden), "--engine", "onnx", "--json", "--tta"]
    result = CliRunner().invoke(app, [*command, "flip"])
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.output[result.output.index("{") :])
    assert metrics["tta"] == ["flip"] and metrics["box"]["AP50"] > 0.8
    assert "'flip' or 'scale', got sideways" in CliRunner().invoke(app, [*command, "sideways"]).output
    assert "keeps what is measured without --tta" in CliRunner().invoke(app, [*command, "flip", "--write"]).output


# Last: while the browser lives, this thread has an event loop running, and no other can be started.
def test_the_report_needs_nothing_else(evaluated: Path, browser: Browser) -> None:
    """Opened from disk it draws its charts, asks for nothing and complains of nothing."""
    complaints: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto((evaluated / "report.html").as_uri())
    assert page.locator("svg polyline").count() >= 6
    assert page.locator("svg rect.bar").count() >= 1
    assert not complaints
    assert not re.search(r"(src|href)=[\"'](?!data:)", (evaluated / "report.html").read_text())
