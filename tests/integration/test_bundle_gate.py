"""`rcnn gate bundle` on a shipped bundle and on worse ones made of it: the golden images are the labelled data."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from typer.testing import CliRunner

from deploy.judge.commands import app
from tests.conftest import ZOO
from tests.integration.labelled import altered, golden_dataset

pytestmark = pytest.mark.slow  # three evaluations

BUNDLE = ZOO / "blood-cells"
PATIENT = ["--slowdown", "1000"]  # a machine that runs tests may be busy with others


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden_dataset(BUNDLE, tmp_path_factory.mktemp("golden"))


def gate(new: Path, old: Path, data: Path, *options: str) -> tuple[int, dict[str, Any]]:
    command = ["bundle", str(new), "--against", str(old), "--data", str(data), "--engine", "onnx", "--json", *options]
    with ThreadPoolExecutor(1) as own_thread:  # the browser keeps an event loop running in this one
        result = own_thread.submit(CliRunner().invoke, app, [*command, *PATIENT]).result()
    assert result.exit_code in (0, 1, 3), result.output
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, json.loads(result.stdout) if result.stdout else {"error": result.stderr}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pair as anybody makes it."""
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "judge.pem", folder / "judge.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@pytest.fixture(scope="module")
def promoted(golden: Path, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the verdict on a bundle judged against itself."""
    out = tmp_path_factory.mktemp("promoted")
    code, verdict = gate(BUNDLE, BUNDLE, golden, "--out", str(out), "--key", str(keys[0]))
    assert code == 0, verdict
    return out


def test_a_bundle_is_as_good_as_itself(promoted: Path) -> None:
    verdict = json.loads((promoted / "verdict.json").read_text())
    assert verdict["decision"] == "promote"
    findings = {finding["name"]: finding for finding in verdict["findings"]}
    assert findings["box AP"]["figures"]["low"] == findings["box AP"]["figures"]["high"] == 0
    assert findings["agreement"]["figures"] == {"disagreement": 0, "images": {"agree": 3}}


def test_a_verdict_shows_who_gave_it_and_no_change_to_it_goes_unnoticed(
    promoted: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    runner, public = CliRunner(), str(keys[1])
    assert runner.invoke(app, ["verify", str(promoted / "verdict.json"), "--key", public]).exit_code == 0
    forged = tmp_path / "verdict.json"
    forged.write_text((promoted / "verdict.json").read_text().replace('"blood-cells"', '"other-cells"'))
    assert runner.invoke(app, ["verify", str(forged), "--key", public]).exit_code == 1
    unsigned = json.loads((promoted / "verdict.json").read_text())
    del unsigned["signature"]
    forged.write_text(json.dumps(unsigned))
    assert runner.invoke(app, ["verify", str(forged), "--key", public]).exit_code == 1


def test_a_bundle_that_finds_less_is_rolled_back_and_the_report_shows_where(
    golden: Path, tmp_path: Path, browser: Browser
) -> None:
    blind = altered(BUNDLE, tmp_path / "blind" / "1", postprocess={"max_detections": 2})
    code, verdict = gate(blind, BUNDLE, golden, "--out", str(tmp_path))
    assert (code, verdict["decision"]) == (1, "rollback")
    assert "box AP" in verdict["reasons"][0]
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("h1").inner_text().lower() == "rollback"
    assert page.locator("figure img").count() == 3
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.close()


def test_a_bundle_without_one_of_the_classes_is_rolled_back_without_asking_it(golden: Path, tmp_path: Path) -> None:
    shifted = altered(BUNDLE, tmp_path / "1", labels=["WBC", "RBC", "lymphocyte"])
    code, verdict = gate(shifted, BUNDLE, golden)
    assert code == 1
    assert "lacks" in verdict["reasons"][0]


def test_a_bundle_that_cannot_be_served_is_rolled_back(golden: Path, tmp_path: Path) -> None:
    broken = altered(BUNDLE, tmp_path / "1")
    (broken / "detector.onnx").write_bytes(b"no graph")
    code, verdict = gate(broken, BUNDLE, golden)
    assert code == 1
    assert "cannot be served" in verdict["reasons"][0]


def test_where_there_is_nothing_to_judge_by_the_answer_is_undecided(golden: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(BUNDLE, old)
    next(old.rglob("detector.onnx")).write_bytes(b"no graph")
    code, verdict = gate(BUNDLE, old, golden)
    assert code == 3
    assert "sha256" in verdict["error"] or "detector.onnx" in verdict["error"]
