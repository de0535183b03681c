"""`rcnn quantise` on a shipped bundle: its golden images are what it is calibrated by and judged on."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from typer.testing import CliRunner, Result

from model.commands import app
from model.quantise import Quantiser
from model.quantise_inputs import NotQuantised, canvases
from service.bundle import Bundle, read_bundle, write_bundle
from service.detections import NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import EngineOptions
from service.engine.choice import create_engine
from service.selfcheck import self_check
from tests.conftest import ZOO
from tests.integration.labelled import golden_dataset

BUNDLE = ZOO / "blood-cells"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden_dataset(BUNDLE, tmp_path_factory.mktemp("labelled"))


def quantise(data: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["quantise", str(BUNDLE), "--data", str(data), "--out", str(out), *options])


@pytest.fixture(scope="module")
def quantised(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Judged on three images, where one box more or less is points of AP."""
    out = tmp_path_factory.mktemp("quantised")
    result = quantise(labelled, out, "--calibrate-on", "val", "--max-drop", "0.2", "--leave-out", "fc7")
    assert result.exit_code == 0, result.output
    assert "onnx, int8: median" in result.output
    told = " ".join(result.output.split())
    assert "in floating point: /backbone/body/conv1/Conv, the first layer" in told
    assert "in floating point: /box_head/fc7/Gemm, left out as asked" in told
    assert "for there is no int8 form: " in told and " RoiAlign" in told
    return read_bundle(out / "blood-cells" / "1-int8")


@pytest.mark.slow
def test_an_int8_bundle_is_smaller_and_proves_itself(quantised: Bundle) -> None:
    """Its golden answers hold on ONNX Runtime, which `auto` then is; it says what it was made of."""
    source = read_bundle(BUNDLE)
    assert quantised.path("detector.onnx").stat().st_size < 0.7 * source.path("detector.onnx").stat().st_size
    engine = create_engine("auto", quantised, 1, EngineOptions(), 0.0, lambda _: None)
    assert engine.name == "onnx"
    self_check(quantised, engine)
    told = quantised.manifest.provenance["quantisation"]
    assert told["made_of"] == source.digest and told["method"] == "minmax" and told["calibration"]["images"] == 3
    assert set(told["AP_after"]) >= {"box, all", "box, RBC", "box, WBC", "box, Platelets"}


@pytest.mark.slow
def test_the_first_and_last_layers_stay_in_floating_point(quantised: Bundle) -> None:
    """So does RoiAlign; everything else with weights runs between QuantizeLinear and DequantizeLinear."""
    graph = onnx.load(quantised.path("detector.onnx")).graph
    maker = {output: node.op_type for node in graph.node for output in node.output}
    is_int8 = {n.name: maker.get(n.input[1]) == "DequantizeLinear" for n in graph.node if n.op_type in ("Conv", "Gemm")}
    left_out = set(quantised.manifest.provenance["quantisation"]["left_out"])
    assert {name for name, int8 in is_int8.items() if not int8} == left_out
    assert sum(is_int8.values()) > 25
    assert {"/backbone/body/conv1/Conv", "/box_predictor/cls_score/Gemm", "/box_predictor/bbox_pred/Gemm"} <= left_out
    assert "/box_head/fc7/Gemm" in left_out and "/box_head/fc6/Gemm" not in left_out


@pytest.mark.slow
def test_a_bad_calibration_is_refused(labelled: Path, tmp_path: Path) -> None:
    """Ranges taken from black images clip real ones: what suffers is named, nothing is written."""
    data = Path(shutil.copytree(labelled, tmp_path / "data"))
    document = json.loads((data / "val.json").read_text())
    for image in document["images"]:
        image["file_name"] = f"black-{image['id']}.png"
        black = np.zeros((image["height"], image["width"], 3), np.uint8)
        Image.fromarray(black).save(data / "images" / image["file_name"])
    (data / "train.json").write_text(json.dumps(document))
    result = quantise(data, tmp_path / "out", "--max-drop", "0.02")
    assert result.exit_code == 1 and "not written: AP of box, all 1.0000 -> " in result.output
    assert not list((tmp_path / "out").rglob("manifest.json"))


def test_images_that_are_not_as_labelled_are_refused(labelled: Path, tmp_path: Path) -> None:
    """Of another size than their labels say, broken, or gone: the image is named, nothing is calibrated on it."""
    for name, change in {
        "smaller": lambda row, path: row.update(width=row["width"] // 2),
        "cut": cut,
        "gone": gone,
    }.items():
        data = Path(shutil.copytree(labelled, tmp_path / name))
        document = json.loads((data / "val.json").read_text())
        row = document["images"][0]
        change(row, data / "images" / row["file_name"])
        (data / "train.json").write_text(json.dumps(document))
        result = quantise(data, tmp_path / "out")
        assert result.exit_code == 1 and row["file_name"] in " ".join(result.output.split()), name
        assert not list((tmp_path / "out").rglob("*")), name


def test_a_layer_to_leave_out_has_to_be_there(labelled: Path, tmp_path: Path) -> None:
    """A part of no layer's name is told, with a name as they are, before anything is calibrated."""
    result = quantise(labelled, tmp_path, "--calibrate-on", "val", "--leave-out", "fc66")
    told = " ".join(result.output.split())
    assert result.exit_code == 1 and "no layer to leave out is called fc66: expected a part of /backbone/" in told
    assert not list(tmp_path.rglob("manifest.json"))


def cut(row: Any, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def gone(row: Any, path: Path) -> None:
    path.unlink()


def test_calibration_images_that_are_none_are_refused(labelled: Path, tmp_path: Path) -> None:
    """A folder without labels, a split that is missing, no image, one that cannot be read: each is named."""
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty} holds no annotations" in quantise(empty, tmp_path / "out").output.replace("\n", " ")
    assert "split train" in quantise(labelled, tmp_path / "out").output
    with pytest.raises(NotQuantised, match="at least one image"):
        Quantiser(read_bundle(BUNDLE), [], "minmax", tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(NotQuantised, match=r"calibration image .*broken\.png"):
        Quantiser(read_bundle(BUNDLE), [broken], "minmax", tmp_path)


@pytest.mark.slow
def test_a_mask_head_in_int8_draws_nearly_the_same_masks(tmp_path: Path) -> None:
    """Its convolutions run in int8, its last layer does not; on the same boxes few pixels change sides."""
    nuclei, paper, draft = read_bundle(ZOO / "nuclei"), tmp_path / "paper", tmp_path / "draft"
    paper.mkdir()
    shutil.copytree(nuclei.root, draft, ignore=shutil.ignore_patterns("manifest.json"))
    pictures = [nuclei.path(name) for name in nuclei.golden_images()]
    quantiser = Quantiser(nuclei, pictures, "minmax", paper)
    quantiser.write_mask_head(draft / "mask_head.onnx")
    layers = quantiser.mask_layers
    assert layers is not None and len(layers.int8) == 4
    assert layers.left_out == {"/predictor/mask_fcn_logits/Conv": "gives scores, boxes or masks"}
    made = write_bundle(draft, nuclei.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))
    before, after = (masks_of(bundle, pictures[0]) for bundle in (nuclei, made))
    assert before.shape == after.shape and len(before) > 10
    assert 0 < ((before > 0.5) != (after > 0.5)).mean() < 0.01


@pytest.mark.slow
def test_for_openvino_no_activation_has_a_zero_point(tmp_path: Path) -> None:
    """Those never below zero are unsigned from zero up, the others signed around it; ONNX Runtime's stay unsigned."""
    source = read_bundle(BUNDLE)
    kinds = {}
    for symmetric in (False, True):
        folder = tmp_path / str(symmetric)
        folder.mkdir()
        pictures = [source.path(source.golden_images()[0])]
        Quantiser(source, pictures, "minmax", folder, symmetric=symmetric).write(folder / "int8.onnx")
        graph = onnx.load(folder / "int8.onnx").graph
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        kinds[symmetric] = [values[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {zero.dtype.name for zero in kinds[False]} == {"uint8"} and any(np.any(zero) for zero in kinds[False])
    assert {zero.dtype.name for zero in kinds[True]} == {"uint8", "int8"}
    assert not any(np.any(zero) for zero in kinds[True])


def masks_of(bundle: Bundle, picture: Path) -> NDArray[np.float32]:
    """Probabilities (D, 28, 28) of what ONNX Runtime finds in picture."""
    ((canvas, size_hw),) = canvases(bundle, [picture])
    engine = create_engine("onnx", bundle, 1, EngineOptions(), 0.0, lambda _: None)
    nms = NmsOptions(0.5, 0.5, "hard", False, 400, None)
    (found,) = detect_batch(engine, [Work(canvas, size_hw, nms, True)])
    assert found.probabilities is not None
    return found.probabilities
