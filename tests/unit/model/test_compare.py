"""The paired bootstrap: nothing where nothing differs, sure where much does."""

import dataclasses

import numpy as np
import pytest

from model.average_precision import Matches
from model.compare import compare
from model.datasets import read_dataset
from model.evaluate import Evaluation
from model.operating_point import reliability
from service.sketch import Baseline
from tests.unit.model.pictures import draw_dataset

IMAGES = 40


def found(right_share: float, seed: int) -> Matches:
    """One detection for each of three truths in every image, right at every IoU with the given share."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.random(3 * IMAGES))[::-1]
    right = np.tile(rng.random(3 * IMAGES) < right_share, (10, 1))
    return Matches(
        scores, rng.permutation(np.repeat(np.arange(IMAGES), 3)), right, np.ones_like(right), np.full(IMAGES, 3)
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    data = read_dataset(draw_dataset(tmp_path_factory.mktemp("data") / "shapes", {"val": IMAGES}), "val")
    by_class = {"box": [found(0.9, 1), found(0.5, 2)]}
    trusted, baseline = reliability(by_class["box"]), Baseline(0, (), {}, {}, (), {})
    return Evaluation(data, {}, 0.5, {}, {}, by_class, [], [], np.zeros((3, 3), np.int64), trusted, baseline)


def test_a_model_does_not_differ_from_itself(here: Evaluation) -> None:
    """Every interval is exactly zero: the same images are drawn for both."""
    for row in compare(here, here, resamples=50):
        assert row.change == row.low == row.high == 0


def test_a_worse_class_is_found_and_the_other_is_not_blamed(here: Evaluation) -> None:
    """Detections of one class right half as often: its interval, and that of the mean, leave out zero."""
    worse = dataclasses.replace(here, by_class={"box": [found(0.45, 1), here.by_class["box"][1]]})
    rows = {row.label: row for row in compare(worse, here, resamples=300)}
    assert list(rows) == ["all", "round", "square"]
    assert rows["round"].high < -0.2 and rows["all"].high < -0.1
    assert rows["square"].low == rows["square"].high == 0
    assert rows["all"].change == pytest.approx((rows["round"].change + rows["square"].change) / 2)
    assert rows["round"].low < rows["round"].change < rows["round"].high
