"""`rcnn proposals`: from pictures to a file, from files to curves."""

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from model.classic.proposals.make import resized
from model.classic.proposals.proposals_file import read_proposals
from model.commands import app
from model.datasets import read_dataset
from model.recipes import Recipe, Stage
from model.restore import build_for
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


def test_the_rpn_of_a_trained_model_proposes(dataset: Path, tmp_path: Path) -> None:
    """A checkpoint as `rcnn train` leaves it: highest score first, what the RPN itself says at that size."""
    recipe = Recipe(
        "toy",
        "classic_fasterrcnn_zf",
        (Stage(1, 1e-3, "whole", (64, 96), (1.0, 1.0)),),
        batch=1,
        model_options={
            "width": 1 / 12,
            "head_channels": 8,
            "anchor_sides_px": (16, 32),
            "min_size": 64,
            "max_size": 96,
        },
        postprocess={"max_detections": 10, "iou_threshold": 0.5},
    )
    torch.manual_seed(0)
    model = build_for(recipe, 3).eval()
    document = {"state_dict": model.state_dict(), "recipe": asdict(recipe), "labels": ["a", "b"]}
    torch.save({**document, "dataset": {}, "trained_with": {}}, tmp_path / "model.pt")
    out = tmp_path / "rpn.json"
    code, words = rcnn("proposals", "make", dataset, out, "--rpn", tmp_path / "model.pt", "--size", 32, "--most", 7)
    assert code == 0, words
    found = read_proposals(out)
    assert found.method == "RPN of classic_fasterrcnn_zf"
    image = read_dataset(dataset, "val").load({"id": 0, "file_name": "val-0.png"}, masks=False).image
    pixels = torch.from_numpy(resized(image, 32)).permute(2, 0, 1).float() / 255
    with torch.inference_mode():
        images, _ = model.transform([pixels])
        (boxes,), _ = model.rpn(images, model.backbone(images.tensors))
    assert images.image_sizes == [(64, 96)]  # the model's own size, which is the file's
    assert np.allclose(found.images["val-0.png"].boxes_xyxy, boxes[:7].numpy(), atol=1e-3)
    code, words = rcnn("proposals", "make", dataset, out, "--rpn", tmp_path / "absent.pt")
    assert code == 1 and "absent.pt does not exist" in words


def test_wrong_modes_and_files_are_refused(dataset: Path, tmp_path: Path) -> None:
    """A mode that is none is a usage error; a file that is none is a no."""
    code, words = rcnn("proposals", "make", dataset, tmp_path / "x.npz", "--mode", "slow")
    assert code == 2 and "is not one of single, fast, quality" in words
    code, words = rcnn("proposals", "recall", dataset, tmp_path / "absent.npz")
    assert code == 1 and "absent.npz is not there" in words
