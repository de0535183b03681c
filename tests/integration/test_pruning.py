"""`rcnn prune` as a user runs it: of a checkpoint, then of the bundle made of what came out."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from model.channels import widths
from model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from model.commands import app
from model.recipes import Recipe, Stage
from model.restore import build_for, restore
from service.bundle import read_bundle
from tests.conftest import ZOO
from tests.integration.labelled import altered
from tests.unit.model.pictures import NAMES, draw_dataset

STAGE = Stage(epochs=3, learning_rate=4e-4, view="whole", view_hw=(64, 96), scale_range=(0.9, 1.1))
RECIPE = Recipe(
    name="toy",
    architecture="maskrcnn_small_fpn",
    stages=(STAGE, dataclasses.replace(STAGE, epochs=1)),
    batch=2,
    model_options={"box_batch_size_per_image": 16, "rpn_post_nms_top_n_train": 50},
    preprocess={"resize": "fit", "min_size": 64, "max_size": 96, "canvas_grid": [[64, 96], [96, 64], [96, 96]]},
    postprocess={"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 100},
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "shapes", {"train": 4, "val": 2})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "model.pt"
    write_checkpoint(Checkpoint(RECIPE, NAMES, {}, {}, build_for(RECIPE, 3).state_dict()), path)
    return path


def prune(what: Path, data: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["prune", str(what), "--data", str(data), "--out", str(out), *options])


@pytest.mark.slow
def test_a_pruned_checkpoint_exports_and_its_bundle_can_be_pruned_again(
    dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Export proves the graphs against eager torchvision; the manifest says the widths, and restoring reads them."""
    out = tmp_path / "pruned"
    result = prune(checkpoint, dataset, out, "--ratio", "0.5", "--ratio", "backbone.fpn=0.25", "--epochs", "7")
    assert result.exit_code == 0, result.output
    assert f"--init {out / 'model.pt'} --teacher {checkpoint}" in result.output.replace("\n", "")
    pruned = read_checkpoint(out / "model.pt")
    found = pruned.recipe.model_options["widths"]
    assert (found["backbone.body.stem"], found["backbone.fpn"]) == (32, 72)
    assert pruned.recipe == Recipe.from_document(json.loads((out / "recipe.json").read_text()))
    assert (pruned.recipe.name, pruned.recipe.epochs) == ("toy-pruned", 7)
    command = ["export", str(out / "model.pt"), "--data", str(dataset), "--out", str(tmp_path / "bundles")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    bundle = read_bundle(tmp_path / "bundles" / "toy-pruned")
    assert {parity["unmatched"] for parity in bundle.manifest.provenance["parity"].values()} == {0}
    assert widths(restore(bundle)) == found
    again = prune(bundle.root, dataset, tmp_path / "again", "--recipe", str(out / "recipe.json"), "--ratio", "rpn=0.5")
    assert again.exit_code == 0, again.output
    twice = read_checkpoint(tmp_path / "again" / "model.pt").recipe.model_options["widths"]
    assert twice == found | {"rpn.head.conv.0.0": 24}


def test_what_cannot_be_pruned_is_said_so(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Exit 1 and the reason: other classes, a share that is no number, a part nobody has, a bundle without a recipe."""
    out, renamed = tmp_path / "out", altered(ZOO / "blood-cells", tmp_path / "renamed", name="cells")
    for what, options, words in (
        (ZOO / "blood-cells", ("--ratio", "0.3"), "the model finds RBC, WBC, Platelets"),
        (renamed, ("--ratio", "0.3"), "does not hold the recipe of its training"),
        (checkpoint, ("--ratio", "some"), "'some' is not a share"),
        (checkpoint, ("--ratio", "neck=0.3"), "no channels are named so"),
        (tmp_path / "nowhere.pt", ("--ratio", "0.3"), "does not exist"),
    ):
        result = prune(what, dataset, out, *options)
        assert result.exit_code == 1 and words in result.output, result.output
    assert not out.exists()
