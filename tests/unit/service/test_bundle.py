"""A bundle is verified before anything in it is used."""

import json
import os
import shutil
from pathlib import Path

import pytest

from service.bundle import Bundle, read_bundle
from service.errors import BundleInvalid


@pytest.fixture
def copy(toy_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_bundle.root, tmp_path / "toy"))


def test_a_whole_bundle_is_read(copy: Path) -> None:
    """What was written comes back, with a digest."""
    bundle = read_bundle(copy)
    assert bundle.manifest.labels == ("thing", "other")
    assert bundle.digest.startswith("sha256:")


def test_the_only_version_folder_is_found(copy: Path, tmp_path: Path) -> None:
    """`model/zoo/nuclei` is as good as `model/zoo/nuclei/1`."""
    (tmp_path / "named").mkdir()
    copy.rename(tmp_path / "named" / "1")
    assert read_bundle(tmp_path / "named").manifest.name == "toy"


def test_several_versions_have_to_be_chosen_from(copy: Path, tmp_path: Path) -> None:
    """Nobody guesses which version was meant."""
    shutil.copytree(copy, tmp_path / "named" / "1")
    shutil.copytree(copy, tmp_path / "named" / "2")
    with pytest.raises(BundleInvalid, match=r"several versions \(1, 2\)"):
        read_bundle(tmp_path / "named")


def _drop_graph(root: Path) -> None:
    (root / "detector.onnx").unlink()


def _change_graph(root: Path) -> None:
    (root / "detector.onnx").write_bytes(b"something else")


def _edit(root: Path, **changes: object) -> None:
    path = root / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _link_out(root: Path, name: str) -> None:
    """The file itself moves out of the bundle, and a link leads to it: its sha256 still holds."""
    outside = root.parent / "elsewhere"
    (root / name).rename(outside)
    (root / name).symlink_to(outside)


def _pipe(root: Path) -> None:
    (root / "detector.onnx").unlink()
    os.mkfifo(root / "detector.onnx")  # reading it would wait for ever


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda root: (root / "manifest.json").unlink(), "no manifest.json", id="no manifest"),
        pytest.param(lambda root: (root / "manifest.json").write_text("{"), "does not hold", id="not JSON"),
        pytest.param(_drop_graph, "detector.onnx is listed but missing", id="file missing"),
        pytest.param(_change_graph, "the manifest says", id="file changed"),
        pytest.param(lambda root: _edit(root, files={"../x": "0"}), "outside the bundle", id="path escapes"),
        pytest.param(lambda root: _edit(root, files={"/etc/passwd": "0"}), "outside the bundle", id="absolute path"),
        pytest.param(lambda root: _edit(root, files={"a\0b": "0"}), "outside the bundle", id="NUL in a name"),
        pytest.param(lambda root: _edit(root, files={"..\\x": "0"}), "outside the bundle", id="backslash"),
        pytest.param(lambda root: _edit(root, files={"golden/../../x": "0"}), "outside", id="path escapes inside"),
        pytest.param(lambda root: _link_out(root, "detector.onnx"), "outside the bundle", id="link escapes"),
        pytest.param(lambda root: _link_out(root, "manifest.json"), "outside the bundle", id="manifest is a link"),
        pytest.param(lambda root: _pipe(root), "listed but missing", id="a pipe, not a file"),
        pytest.param(lambda root: _edit(root, provenance={"x": "y" * 10_000_000}), "bytes", id="huge manifest"),
        pytest.param(lambda root: _edit(root, files={}), "needs detector.onnx", id="graph not listed"),
        pytest.param(lambda root: _edit(root, labels=[]), "labels", id="no labels"),
        pytest.param(lambda root: _edit(root, surprise=1), "surprise", id="unknown key"),
        pytest.param(lambda root: _edit(root, schema_version=2), "schema_version", id="newer schema"),
    ],
)
def test_a_damaged_bundle_is_refused_with_its_reason(copy: Path, damage: object, words: str) -> None:
    """Corrupt, incomplete, foreign or hostile: never served, always explained."""
    damage(copy)  # type: ignore[operator]
    with pytest.raises(BundleInvalid, match=words):
        read_bundle(copy)


def test_a_grid_that_cannot_hold_every_image_is_refused(copy: Path) -> None:
    """No image may arrive for which there is no canvas."""
    preprocess = json.loads((copy / "manifest.json").read_text())["preprocess"]
    _edit(copy, preprocess=preprocess | {"canvas_grid": [[64, 128]]})
    with pytest.raises(BundleInvalid, match="at least 128 x 64"):
        read_bundle(copy)


def test_thresholds_and_calibration_are_of_labels_there_are(copy: Path) -> None:
    """A bundle that names none has none; one that names a stranger, or a line that falls, is not served."""
    assert read_bundle(copy).manifest.score_calibration() is None
    line = {"temperature": 2.0, "bias": -1.0}
    _edit(copy, calibration={"common": line, "by_class": {"other": {"temperature": 1.0, "bias": 0.5}}})
    calibration = read_bundle(copy).manifest.score_calibration()
    assert calibration is not None and calibration.common.bias == -1.0
    assert calibration.by_label_id[2].bias == 0.5
    _edit(copy, calibration={"common": line, "by_class": {"stranger": line}})
    with pytest.raises(BundleInvalid, match="stranger"):
        read_bundle(copy)
    _edit(copy, calibration={"common": {"temperature": -1.0, "bias": 0.0}})
    with pytest.raises(BundleInvalid, match=r"calibration\.common\.temperature"):
        read_bundle(copy)
