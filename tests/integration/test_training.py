"""`rcnn train` as a user runs it: killed and gone on with, recorded in MLflow, told what is wrong."""

import dataclasses
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from model.commands import app
from model.datasets import read_dataset
from model.distillation import Shares, read_teacher
from model.recipes import Recipe, Stage
from model.restore import build_for
from service.bundle import read_bundle
from tests.conftest import ZOO
from tests.unit.model.pictures import draw_dataset

STAGE = Stage(
    epochs=2, learning_rate=4e-4, view="whole", view_hw=(64, 96), scale_range=(0.8, 1.2), mosaic=0.3, copy_paste=0.5
)
SHORT = Recipe(
    name="toy",
    architecture="maskrcnn_small_fpn",
    stages=(STAGE, dataclasses.replace(STAGE, epochs=1, schedule="trapezoid", decay_epochs=0.5, channel_gain=0.5)),
    batch=2,
    model_options={"box_batch_size_per_image": 16, "rpn_post_nms_top_n_train": 50},
    preprocess={"resize": "fit", "min_size": 64, "max_size": 96, "canvas_grid": [[64, 96], [96, 64], [96, 96]]},
    postprocess={"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 100},
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "shapes", {"train": 8, "val": 4})


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "short.json"
    path.write_text(json.dumps(dataclasses.asdict(SHORT)))
    return path


def start(dataset: Path, out: Path, *options: str | Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "service.cli", "train", str(dataset), "--out", str(out), *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: "subprocess.Popen[str]") -> str:
    words, _ = process.communicate(timeout=600)
    assert process.returncode == 0, words
    return words


def weights(out: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(out / "model.pt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained, and of another width than the student."""
    torch.manual_seed(0)
    widths = {"backbone.fpn": 64, "backbone.fpn.inner": 64}
    recipe = dataclasses.replace(SHORT, model_options={**SHORT.model_options, "widths": widths})
    path = tmp_path_factory.mktemp("teacher") / "model.pt"
    state = build_for(recipe, 3).state_dict()
    write_checkpoint(Checkpoint(recipe, ("round", "square"), {}, {}, state), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("taught", [False, True], ids=["labels alone", "with a teacher"])
def test_a_killed_training_goes_on_to_the_very_same_weights(
    dataset: Path, recipe: Path, teacher: Path, tmp_path: Path, taught: bool
) -> None:
    """SIGKILL at a random moment, in the first stage or at its end: the same as uninterrupted, bit for bit."""
    options = ("--recipe", recipe, "--no-bundle", *(("--teacher", teacher) if taught else ()))
    finish(start(dataset, tmp_path / "whole", *options))
    cut, chance = tmp_path / "cut", random.Random()
    process, seen = start(dataset, cut, *options), f"epoch {chance.choice([1, 2])}/3"
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith(seen))
    time.sleep(chance.uniform(0.0, 0.5))  # an epoch takes longer: four steps of a Mask R-CNN
    process.kill()
    process.wait()
    process.stdout.close()
    assert process.returncode == -9, "it ended before it was killed"
    words = finish(start(dataset, cut, *options))
    assert "epoch 1/3" not in words and "epoch 3/3" in words
    expected, found = weights(tmp_path / "whole"), weights(cut)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    events = EventAccumulator(str(cut / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert ("loss/teacher_features" in events.Tags()["scalars"]) == taught
    assert (read_checkpoint(cut / "model.pt").teacher is not None) == taught


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of SQLAlchemy, within MLflow
def test_a_run_is_recorded_with_its_bundle(dataset: Path, tmp_path: Path) -> None:
    """MLflow holds params, the dataset's fingerprint, metrics by epoch, and a bundle that loads."""
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    out = tmp_path / "run"
    options = ("--arch", "fasterrcnn_small_fpn", "--size", "64", "--batch", "2", "--epochs", "2", "--mlflow", store)
    words = finish(start(dataset, out, *options))
    assert "box AP" in words
    client = MlflowClient(tracking_uri=store)
    run = client.get_run((out / "mlflow-run-id.txt").read_text().strip())
    assert run.info.status == "FINISHED"
    assert run.data.params["dataset.fingerprint"] == read_dataset(dataset, "train").fingerprint()
    assert run.data.params["architecture"] == "fasterrcnn_small_fpn"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
    assert {"val/box/AP", "val/box/AP50", "learning_rate"} <= set(run.data.metrics)
    kept = client.download_artifacts(run.info.run_id, "bundle", str(tmp_path))
    assert read_bundle(Path(kept)).manifest.labels == ("round", "square")


def test_broken_annotations_stop_training_before_it_begins(dataset: Path, tmp_path: Path) -> None:
    """Exit 1, the file and the object named, nothing written; a wrong architecture is a question of usage."""
    broken = tmp_path / "broken"
    shutil.copytree(dataset, broken)
    document = json.loads((broken / "train.json").read_text())
    document["annotations"][4]["bbox"][2] = 0
    (broken / "train.json").write_text(json.dumps(document))
    command = ["train", str(broken), "--out", str(tmp_path / "run"), "--arch"]
    result = CliRunner().invoke(app, [*command, "maskrcnn_small_fpn"])
    assert result.exit_code == 1 and not (tmp_path / "run").exists()
    assert "train.json: object 5: has box" in result.output and "--skip-broken" in result.output
    assert CliRunner().invoke(app, [*command, "yolo"]).exit_code == 2


def test_a_teacher_of_something_else_stops_training_before_it_begins(
    dataset: Path, teacher: Path, tmp_path: Path
) -> None:
    """Exit 1 and what differs: other classes, another task, no checkpoint at all; nothing is written."""
    out, noise = tmp_path / "run", tmp_path / "noise.pt"
    noise.write_bytes(b"not a checkpoint")
    command = ["train", str(dataset), "--out", str(out), "--arch", "fasterrcnn_small_fpn", "--batch", "2", "--teacher"]
    for given, words in (
        (ZOO / "blood-cells", "the teacher finds RBC, WBC, Platelets, the dataset names round, square"),
        (teacher, "is for segmentation, fasterrcnn_small_fpn for detection"),
        (noise, "is not a checkpoint"),
        (tmp_path / "nowhere", "does not exist"),
    ):
        result = CliRunner().invoke(app, [*command, str(given)])
        assert result.exit_code == 1 and words in result.output, result.output
    assert not out.exists()


def test_another_recipe_is_not_mixed_into_a_run(dataset: Path, teacher: Path, tmp_path: Path) -> None:
    """The checkpoint's recipe, teacher and dataset have to be those of the run it belongs to."""
    from model.learner import Learner
    from model.train import Run, RunMismatch, epochs_done
    from model.train import train as fit

    cpu = torch.device("cpu")
    run = Run(SHORT, read_dataset(dataset, "train", masks=True), tmp_path, cpu)
    assert epochs_done(run) == 0
    learner = Learner(SHORT, 3, cpu, half_precision=False)
    learner.begin_stage(STAGE, 4)
    torch.save({"identity": run.identity(), "epochs_done": 2, **learner.state_dict()}, run.checkpoint_path)
    assert epochs_done(run) == 2
    with pytest.raises(RunMismatch, match=r"teacher was None, now it is .*sha256"):
        fit(dataclasses.replace(run, teacher=read_teacher(teacher, Shares())), [], None, None)  # type: ignore[arg-type]
    other = dataclasses.replace(run, recipe=dataclasses.replace(SHORT, batch=4))
    with pytest.raises(RunMismatch, match="batch was 2, now it is 4"):
        fit(other, [], None, None)  # type: ignore[arg-type]
