"""`rcnn calibrate` on a shipped bundle: its golden images, turned four ways, labelled with what is expected of them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner, Result

from model.commands import app
from model.datasets import read_dataset
from service.app import Service
from service.bundle import Bundle, read_bundle
from service.detections import Detections, DetectOptions
from service.settings import read_settings
from tests.conftest import ZOO
from tests.integration.labelled import altered, golden_dataset

BUNDLE = ZOO / "blood-cells"
FLIPS = [(False, False), (True, False), (False, True), (True, True)]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images: what the model is sure of is the truth, so what it is less sure of is wrong."""
    root = golden_dataset(BUNDLE, tmp_path_factory.mktemp("labelled"))
    document = json.loads((root / "val.json").read_text())
    turned: dict[str, Any] = {"images": [], "annotations": [], "categories": document["categories"]}
    for number, (mirrored, upside_down) in enumerate(FLIPS):
        for image in document["images"]:
            name, id = f"{number}-{image['file_name']}.png", 100 * number + image["id"]
            with Image.open(root / "images" / image["file_name"]) as picture:
                seen = ImageOps.mirror(picture) if mirrored else picture
                (ImageOps.flip(seen) if upside_down else seen).save(root / "images" / name)
            turned["images"].append({**image, "id": id, "file_name": name})
            for row in (row for row in document["annotations"] if row["image_id"] == image["id"]):
                x, y, w, h = row["bbox"]
                x, y = (image["width"] - x - w if mirrored else x), (image["height"] - y - h if upside_down else y)
                turned["annotations"].append(
                    {**row, "bbox": [x, y, w, h], "image_id": id, "id": len(turned["annotations"])}
                )
    (root / "val.json").write_text(json.dumps(turned))
    return root


def calibrate(bundle: Path, data: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["calibrate", str(bundle), "--data", str(data), "--engine", "onnx", *options])


@pytest.fixture(scope="module")
def calibrated(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("calibrated")
    result = calibrate(BUNDLE, labelled, "--out", str(out), "--report", str(out / "report.html"))
    assert result.exit_code == 0, result.output
    assert "held out" in result.output and (out / "report.html").read_text().count("<svg") == 8  # all and 3 classes
    return read_bundle(out / "blood-cells" / "1-calibrated")


def found(bundle: Bundle, options: DetectOptions) -> list[Detections]:
    """In the golden images of the bundle as served; loading runs its self-check."""

    async def ask() -> list[Detections]:
        service = Service(read_settings(bundles=str(bundle.root), engine="onnx", default_timeout_ms=600_000))
        await service.load()
        try:
            pictures = [bundle.path(name).read_bytes() for name in bundle.golden_images()]
            return [(await service.predictor.predict(picture, options)).detections for picture in pictures]
        finally:
            await service.unload()

    return asyncio.run(ask())


def test_the_same_is_reported_with_other_scores(calibrated: Bundle) -> None:
    """Without a wish for precision or recall, thresholds move with the scores: box for box what was reported before."""
    for before, after in zip(
        found(read_bundle(BUNDLE), DetectOptions()), found(calibrated, DetectOptions()), strict=True
    ):
        assert len(after) == len(before) > 5
        boxes_before, boxes_after = (np.array(sorted(rows.boxes_xyxy.tolist())) for rows in (before, after))
        assert np.allclose(boxes_before, boxes_after)
        assert np.abs(np.sort(before.scores) - np.sort(after.scores)).max() > 0.01
        assert np.all(np.diff(after.scores) <= 0)


def test_a_callers_own_threshold_is_about_calibrated_scores(calibrated: Bundle) -> None:
    """And beats those the bundle has for classes."""
    everything = found(calibrated, DetectOptions(score_threshold=0.0))
    for least in (0.3, 0.97):
        some = found(calibrated, DetectOptions(score_threshold=least))
        assert [len(rows) for rows in some] == [int((rows.scores >= np.float32(least)).sum()) for rows in everything]


def test_what_the_bundle_says_of_itself_was_measured_again(calibrated: Bundle, labelled: Path) -> None:
    """Metrics by the new scores, provenance with the data, AP as before; nothing of the model itself has changed."""
    source, manifest = read_bundle(BUNDLE), calibrated.manifest
    told = manifest.provenance["calibration"]
    assert told["made_of"] == source.digest
    assert told["dataset"]["fingerprint"] == read_dataset(labelled, "val").fingerprint()
    assert told["d_ece_held_out"] < told["d_ece_before"]
    assert manifest.files["detector.onnx"] == source.manifest.files["detector.onnx"]
    metrics = json.loads(calibrated.path("metrics.json").read_bytes())
    assert metrics["operating_point"]["class_score_thresholds"] == manifest.postprocess.class_score_thresholds
    assert metrics["operating_point"]["recall"] > 0.95


def test_no_golden_answer_is_one_of_before(calibrated: Bundle) -> None:
    """The source has answers in bf16 of their own, in scores that no longer are."""
    assert [name for name in read_bundle(BUNDLE).manifest.files if name.endswith(".bf16.json")]
    assert not [name for name in calibrated.manifest.files if name.endswith(".bf16.json")]


def test_calibrating_twice_is_refused(calibrated: Bundle, labelled: Path) -> None:
    """A line through a line would be fitted to what is no longer the model's own score."""
    result = calibrate(calibrated.root, labelled)
    assert result.exit_code == 1 and "calibrated already" in result.output


def test_what_the_model_was_trained_on_is_refused(labelled: Path, tmp_path: Path) -> None:
    """A model is too sure of images it knows."""
    fingerprint = read_dataset(labelled, "val").fingerprint()
    trained = altered(BUNDLE, tmp_path / "trained", provenance={"dataset": {"fingerprint": fingerprint}})
    result = calibrate(trained, labelled)
    assert result.exit_code == 1 and "was trained on" in result.output


def test_what_cannot_be_is_said_before_anything_is_written(labelled: Path, tmp_path: Path) -> None:
    """Precision and recall at once, no labelled images, a place that is taken."""
    both = calibrate(BUNDLE, labelled, "--precision", "0.9", "--recall", "0.9")
    assert both.exit_code == 2 and "one of them decides" in both.output
    nothing = calibrate(BUNDLE, tmp_path)
    assert nothing.exit_code == 1 and "holds no annotations" in nothing.output
    (tmp_path / "blood-cells" / "1-calibrated").mkdir(parents=True)
    taken = calibrate(BUNDLE, labelled, "--out", str(tmp_path))
    assert taken.exit_code == 1 and "is there already" in taken.output
