"""Somebody's checkpoint is read however it is wrapped, or refused in one line that says why."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from model import architectures
from model.brought import Wishes, export_brought, find_weights, name_classes
from model.checkpoint import CheckpointInvalid
from model.weights import State, Weights, is_frozen, load, read_file

SMALL = "fasterrcnn_small_fpn"


@pytest.fixture(scope="module")
def state() -> State:
    """Three classes besides background."""
    torch.manual_seed(0)
    return dict(architectures.build(SMALL, 4).state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda state: state, id="bare"),
        pytest.param(lambda state: {"model": state, "epoch": 3}, id="under model"),
        pytest.param(lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}}, id="DataParallel"),
        pytest.param(lambda state: {"model": {f"_orig_mod.{k}": v for k, v in state.items()}}, id="compiled"),
        pytest.param(lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}}, id="Lightning"),
    ],
)
def test_a_state_dict_is_found_in_its_wrapping(state: State, wrap: Any, tmp_path: Path) -> None:
    """Names and values come out as torchvision has them; the class count is read off the box head."""
    torch.save(wrap(state), tmp_path / "weights.pth")
    weights = read_file(tmp_path / "weights.pth")
    assert weights.state.keys() == state.keys() and weights.num_classes == 4
    loaded = load(SMALL, weights, {}).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_safetensors_are_read(state: State, tmp_path: Path) -> None:
    """No pickle at all."""
    save_file(state, tmp_path / "weights.safetensors")
    assert read_file(tmp_path / "weights.safetensors").num_classes == 4


def _write(path: Path, document: Any) -> Path:
    torch.save(document, path)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda p: p, "does not exist", id="no file"),
        pytest.param(lambda p: [p.write_bytes(b"<html>"), p][1], "is not a (state|check)", id="no checkpoint"),
        pytest.param(lambda p: _write(p, nn.ReLU()), r"Python object \(torch.nn.*save model.state_dict", id="a module"),
        pytest.param(lambda p: _write(p, {"epoch": 3}), "holds epoch but no weights", id="no weights"),
        pytest.param(lambda p: _write(p, torch.zeros(3)), "holds a Tensor", id="a tensor"),
        pytest.param(lambda p: _write(p, {"fc.weight": torch.zeros(3, 4)}), "has no roi_heads", id="a classifier"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(make: Any, words: str, tmp_path: Path) -> None:
    """Whatever is wrong with the file itself."""
    with pytest.raises(CheckpointInvalid, match=words) as refused:
        assert read_file(make(tmp_path / "weights.pth")).num_classes
    assert "\n" not in str(refused.value)


def _without(state: State) -> State:
    return {name: value for name, value in state.items() if name != "rpn.head.cls_logits.bias"}


@pytest.mark.parametrize(
    ("architecture", "change", "words"),
    [
        pytest.param(SMALL, _without, "misses rpn.head.cls_logits.bias$", id="missing key"),
        pytest.param(SMALL, lambda s: s | {"extra": torch.zeros(1)}, "has the unexpected extra$", id="unexpected key"),
        pytest.param(
            SMALL, lambda s: s | {"rpn.head.cls_logits.bias": torch.zeros(9)}, "size mismatch for rpn.head", id="shape"
        ),
        pytest.param(
            SMALL, lambda s: s | {"rpn.head.cls_logits.bias": torch.full((3,), torch.nan)}, "not finite", id="NaN"
        ),
        pytest.param("maskrcnn_small_fpn", dict, f"misses roi_heads.mask.*; they fit {SMALL}$", id="another"),
    ],
)
def test_weights_that_do_not_fit_are_explained_in_one_line(
    state: State, architecture: str, change: Any, words: str
) -> None:
    """The first key at fault, and where the weights do belong."""
    with pytest.raises(CheckpointInvalid, match=words) as refused:
        load(architecture, Weights(change(state), "mine.pth"), {})
    assert "\n" not in str(refused.value)


def test_class_names_have_to_be_as_many_as_the_head_tells_apart(state: State, tmp_path: Path) -> None:
    """Neither fewer nor none; a file of lines will do."""
    weights = Weights(state, "mine.pth")
    with pytest.raises(CheckpointInvalid, match="tells 3 classes from background, --labels names 2"):
        name_classes("cat,dog", weights)
    with pytest.raises(CheckpointInvalid, match="give 3 class names by --labels"):
        name_classes("", weights)
    (tmp_path / "names.txt").write_text("cat\ndog\n\nhen\n")
    assert name_classes(str(tmp_path / "names.txt"), weights) == ("cat", "dog", "hen")
    assert len(set(name_classes("coco", None))) == 90


def test_published_weights_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wrong name lists the right ones; without internet the address is given."""
    with pytest.raises(CheckpointInvalid, match="has no weights IMAGENET; it has COCO_V1"):
        find_weights("maskrcnn_resnet50_fpn", "IMAGENET")
    with pytest.raises(CheckpointInvalid, match="has no published weights"):
        find_weights(SMALL, "COCO_V1")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(CheckpointInvalid, match=r"bf2d0c1e.pth cannot be downloaded .*give the file"):
        find_weights("maskrcnn_resnet50_fpn", "MaskRCNN_ResNet50_FPN_Weights.COCO_V1")


@torch.no_grad()
def test_frozen_batch_norms_are_told_by_what_they_lack(state: State) -> None:
    """And an ordinary batch norm with their numbers computes the same."""
    assert not is_frozen(Weights(state, ""))
    frozen, ordinary = FrozenBatchNorm2d(8, eps=0.0), nn.BatchNorm2d(8, eps=0.0).eval()
    numbers = {name: torch.rand(8) + 0.1 for name in ("weight", "bias", "running_mean", "running_var")}
    frozen.load_state_dict(numbers)
    ordinary.load_state_dict(numbers, strict=False)
    image = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(ordinary(image), frozen(image))
    assert is_frozen(Weights({f"backbone.body.bn1.{name}": value for name, value in numbers.items()}, ""))


def test_a_grid_that_cannot_hold_every_image_is_refused(state: State, tmp_path: Path) -> None:
    """Before anything is exported."""
    wishes = Wishes(min_size=192, max_size=320, canvas_grid=((192, 256),))
    with pytest.raises(CheckpointInvalid, match="canvas_grid needs a canvas of at least"):
        export_brought(SMALL, Weights(state, "mine.pth"), ("a", "b", "c"), wishes, [], None, tmp_path)
    assert not list(tmp_path.iterdir())
