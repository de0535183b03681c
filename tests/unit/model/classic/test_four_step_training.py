"""The four steps through the learner that trains every model: optimizer, weight decay and running average included."""

import copy
import dataclasses

import pytest
import torch

from model.classic.steps import FOUR_STEPS, Step
from model.learner import Learner
from model.recipes import Recipe, Stage

STAGE = Stage(epochs=1, learning_rate=1e-2, view="whole", view_hw=(64, 96), scale_range=(0.9, 1.1))
OPTIONS = {"width": 0.1, "batch_norm": True, "anchor_sides_px": [24, 48], "head_channels": 16}
RECIPE = Recipe("toy", "classic_fasterrcnn_zf", (STAGE,), batch=2, weight_decay=0.5, model_options=OPTIONS)
CPU = torch.device("cpu")


def learner_of() -> Learner:
    torch.manual_seed(0)
    return Learner(RECIPE, 3, CPU, half_precision=False)


def train_in(learner: Learner, step: Step) -> None:
    learner.begin_stage(dataclasses.replace(STAGE, step=step), 3)
    go_on(learner, 3)


def go_on(learner: Learner, steps: int) -> None:
    torch.manual_seed(1)
    image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1])}
    for _ in range(steps):
        learner.step([image] * 2, [target] * 2)


@pytest.fixture(scope="module")
def states() -> list[dict[str, torch.Tensor]]:
    """What is kept after each of the four steps."""
    learner, found = learner_of(), []
    for step in FOUR_STEPS:
        train_in(learner, step)
        found.append(copy.deepcopy(learner.average.state_dict()))
        for name, value in learner.model.state_dict().items():
            if name.startswith("backbone.") and step.endswith("shared"):
                assert torch.equal(value, found[-1][name]), "the average left the frozen trunk"
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], part: str) -> bool:
    names = [name for name in other if name.startswith(part)]
    assert names
    return all(torch.equal(one[name], other[name]) for name in names)


def test_the_trunk_of_steps_3_and_4_is_that_of_step_2_bit_for_bit(states: list[dict[str, torch.Tensor]]) -> None:
    """Weights, batch statistics and their counts: through weight decay and the running average."""
    _, second, third, fourth = states
    assert same(second, third, "backbone.") and same(third, fourth, "backbone.")
    assert same(second, third, "roi_heads.") and not same(third, fourth, "roi_heads.")
    assert not same(second, third, "rpn.head") and same(third, fourth, "rpn.head")


def test_the_trunk_and_rpn_of_step_1_only_propose_in_step_2(states: list[dict[str, torch.Tensor]]) -> None:
    first, second, third, fourth = states
    proposer = {name.removeprefix("proposer."): v for name, v in second.items() if name.startswith("proposer.")}
    assert same(proposer, {n: v for n, v in first.items() if n.startswith(("backbone.", "rpn."))}, "")
    assert not same(first, second, "backbone.body.0")
    assert set(first) == set(third) == set(fourth)


def test_a_learner_resumed_in_the_midst_of_step_2_ends_with_the_same_weights() -> None:
    """The frozen proposer travels in the checkpoint."""
    learner = learner_of()
    train_in(learner, "rpn")
    learner.begin_stage(dataclasses.replace(STAGE, step="detector", epochs=2), 3)
    go_on(learner, 3)
    kept = copy.deepcopy(learner.state_dict())
    go_on(learner, 3)
    other = learner_of()
    other.begin_stage(dataclasses.replace(STAGE, step="detector", epochs=2), 3)
    other.load_state_dict(kept)
    go_on(other, 3)
    assert same(learner.average.state_dict(), other.average.state_dict(), "")


def test_the_detectors_trunk_starts_where_that_of_the_rpn_did() -> None:
    """Given weights to start from (the papers' came from ImageNet), both begin with them."""
    learner, pretrained = learner_of(), learner_of()
    start = {name: value + 1 for name, value in pretrained.average.state_dict().items() if "weight" in name}
    learner.start_from(start)
    train_in(learner, "rpn")
    learner.begin_stage(dataclasses.replace(STAGE, step="detector"), 3)
    for network in (learner.model, learner.average):
        assert torch.equal(network.backbone.body[0].weight, start["backbone.body.0.weight"])
