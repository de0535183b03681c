"""`rcnn proposals`: from pictures to a file, from files to curves."""

from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from model.classic.proposals.proposals_file import read_proposals
from model.commands import app
from tests.unit.model.pictures import draw_dataset


def rcnn(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn") / "data", {"val": 2})


def test_proposals_are_made_and_their_recall_is_drawn(dataset: Path, tmp_path: Path) -> None:
    """At half the size, in pixels of the files; every drawn object is found."""
    out, plot = tmp_path / "fast.npz", tmp_path / "recall.png"
    code, words = rcnn("proposals", "make", dataset, out, "--size", 48, "--smallest", 4)
    assert code == 0 and "proposals an image for 2 images" in words, words
    found = read_proposals(out)
    assert found.method == "selective search, fast"
    assert [image.size_hw for image in found.images.values()] == [(64, 96)] * 2
    code, words = rcnn("proposals", "recall", dataset, out, "--plot", plot)
    assert code == 0 and "recall at IoU 0.5: 1.000 with 100" in words, words
    assert cv2.imread(str(plot)).shape[2] == 3


def test_wrong_modes_and_files_are_refused(dataset: Path, tmp_path: Path) -> None:
    """A mode that is none is a usage error; a file that is none is a no."""
    code, words = rcnn("proposals", "make", dataset, tmp_path / "x.npz", "--mode", "slow")
    assert code == 2 and "is not one of single, fast, quality" in words
    code, words = rcnn("proposals", "recall", dataset, tmp_path / "absent.npz")
    assert code == 1 and "absent.npz is not there" in words
