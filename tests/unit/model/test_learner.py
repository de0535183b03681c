"""Stages: what the learning rate does, what is carried over, what half precision changes."""

import dataclasses

import pytest
import torch

from model.learner import Learner, make_schedule, trapezoid
from model.recipes import RECIPES, Recipe, Stage

STAGE = Stage(epochs=4, learning_rate=1e-2, view="whole", view_hw=(64, 64), scale_range=(0.9, 1.1))
RECIPE = Recipe("toy", "fasterrcnn_small_fpn", (STAGE,), batch=2)
CPU = torch.device("cpu")


def rates(stage: Stage, steps_per_epoch: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], stage.learning_rate)
    schedule = make_schedule(optimizer, stage, steps_per_epoch)
    found = []
    for _ in range(stage.epochs * steps_per_epoch):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_a_trapezoid_rises_stays_and_falls() -> None:
    """Up over the warm-up, level, linearly down over the last epochs; never nothing while training goes on."""
    stage = dataclasses.replace(STAGE, schedule="trapezoid", warmup_epochs=1, decay_epochs=2)
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert rates(stage, 4) == pytest.approx([0.01 * part for part in expected])


def test_a_trapezoid_without_slopes_is_constant() -> None:
    """Neither warm-up nor decay."""
    assert {trapezoid(10, 0, 0)(step) for step in range(10)} == {1.0}


def test_one_cycle_peaks_early_and_ends_near_nothing() -> None:
    """The highest rate is the stage's own."""
    found = rates(STAGE, 25)
    assert max(found) == pytest.approx(STAGE.learning_rate) and found.index(max(found)) < 20
    assert found[-1] < 1e-3 * STAGE.learning_rate


def picture_with_an_object() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    return [image] * 2, [{"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1])}] * 2


def test_a_stage_starts_from_the_average_of_the_one_before() -> None:
    """Weights are the average's, the optimizer is fresh, the rate is the new stage's."""
    torch.manual_seed(0)
    learner = Learner(RECIPE, 2, CPU, half_precision=False)
    learner.begin_stage(STAGE, 2)
    for _ in range(2):
        learner.step(*picture_with_an_object())
    average = {name: value.clone() for name, value in learner.average.state_dict().items()}
    assert any(not torch.equal(value, average[name]) for name, value in learner.model.state_dict().items())
    learner.begin_stage(dataclasses.replace(STAGE, schedule="trapezoid", learning_rate=3e-4, warmup_epochs=0), 2)
    assert all(torch.equal(value, average[name]) for name, value in learner.model.state_dict().items())
    assert learner.learning_rate == pytest.approx(3e-4)
    assert learner.state_dict()["optimizer"]["state"] == {}


def test_half_precision_trains_the_same_weights_in_bfloat16() -> None:
    """Same names, gradients everywhere, losses near those of full precision but not equal to them."""
    losses = []
    for half_precision in (False, True):
        torch.manual_seed(0)
        learner = Learner(RECIPE, 2, CPU, half_precision=half_precision)
        learner.begin_stage(STAGE, 2)
        torch.manual_seed(1)
        losses.append(sum(learner.step(*picture_with_an_object()).values()))
        assert all(parameter.grad is not None for parameter in learner.model.backbone.parameters())
        assert all(value.dtype != torch.bfloat16 for value in learner.average.state_dict().values())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_a_loss_that_is_not_a_number_stops_training() -> None:
    """With advice."""
    learner = Learner(RECIPE, 2, CPU, half_precision=False)
    learner.begin_stage(STAGE, 2)
    images, targets = picture_with_an_object()
    with torch.no_grad():
        next(iter(learner.model.rpn.parameters())).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        learner.step(images, targets)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_being_written_down(name: str) -> None:
    """What a checkpoint holds is the recipe, stages and all."""
    assert Recipe.from_document(dataclasses.asdict(RECIPES[name])) == RECIPES[name]
