"""`rcnn compare-classics` on drawn pictures: every system trained, judged, timed and kept."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.classic.systems import SYSTEMS
from model.commands import app
from tests.unit.model.pictures import draw_dataset


def rcnn(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and their proposals, train and val."""
    root = draw_dataset(tmp_path_factory.mktemp("drawn") / "data", {"train": 4, "val": 2})
    for split in ("train", "val"):
        code, words = rcnn("proposals", "make", root, root / f"{split}.npz", "--split", split, "--mode", "single")
        assert code == 0, words
    return root


def compared(folder: Path, out: Path, *more: object) -> tuple[int, str]:
    files = ("--train-proposals", folder / "train.npz", "--val-proposals", folder / "val.npz")
    small = ("--width", 1 / 12, "--hidden", 16, "--size", 64, "--square", 48, "--anchors", "16,32", "--timed-images", 1)
    return rcnn("compare-classics", folder, "--out", out, *files, *small, "--steps", 2, "--pretraining-steps", 2, *more)


def test_every_system_is_trained_judged_and_timed(folder: Path, tmp_path: Path) -> None:
    """Stages, bytes on disk, seconds and AP of each; the second time nothing is trained again."""
    code, words = compared(folder, tmp_path)
    assert code == 0, words
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert list(found["systems"]) == [system.name for system in SYSTEMS]
    for system in SYSTEMS:
        row = found["systems"][system.name]
        seconds = row["seconds_an_image"]
        assert all(value > 0 for value in row["cpu_s"].values()) and 0 <= row["AP50"] <= 1
        assert (row["feature_bytes"] > 0) == (system.name in ("R-CNN", "SPPnet"))
        assert (seconds["with_proposals"] > seconds["without_proposals"]) == system.takes_proposals
    assert list(found["systems"]["Faster R-CNN"]["cpu_s"]) == ["rpn", "detector", "rpn_shared", "detector_shared"]
    assert list(found["systems"]["Fast R-CNN"]["cpu_s"]) == ["fine-tuning"]
    less = found["Faster R-CNN less the others"]
    assert list(less) == [system.name for system in SYSTEMS[:-1]]
    for name, row in less.items():
        change = found["systems"]["Faster R-CNN"]["AP"] - found["systems"][name]["AP"]
        assert row["AP"] == pytest.approx(change, abs=2e-4) and row["low"] <= row["AP"] <= row["high"]
        assert f"AP of Faster R-CNN less that of {name}: " in words
    for name in ("comparison.png", "anchors.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    code, words = rcnn("proposals", "recall", folder, folder / "val.npz", tmp_path / "rpn-val.npz")
    assert code == 0 and "RPN of Faster R-CNN: " in words
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    assert len(kept) == len(SYSTEMS) + 1
    code, words = compared(folder, tmp_path)
    assert code == 0 and {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")} == kept
    again = json.loads((tmp_path / "comparison.json").read_text())["systems"]
    assert [row["AP50"] for row in again.values()] == [row["AP50"] for row in found["systems"].values()]


def test_wrong_wishes_are_refused(folder: Path, tmp_path: Path) -> None:
    """A system that is none, a trunk that is none, sides that are none, a file that is not there."""
    assert compared(folder, tmp_path, "--system", "YOLO")[0] == 2
    assert compared(folder, tmp_path, "--trunk", "resnet")[0] == 2
    assert compared(folder, tmp_path, "--anchors", "small")[0] == 2
    code, words = compared(folder, tmp_path, "--val-proposals", folder / "absent.npz")
    assert code == 1 and "absent.npz is not there" in words
