"""The rival rules, on streams whose fate their own documents make plain."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploy.judge.proof import rivals
from deploy.judge.proof.pairs import Pairs, Release


def minutes(error_rate: float = 0, slowdown: float = 1, found: float = 10, spread: float = 0.05) -> rivals.Minutes:
    rng = np.random.default_rng(0)
    objects = rng.poisson(10, 60).astype(float)
    pace = slowdown * np.exp(spread * rng.standard_normal(60))
    release = Release("some", Path(), False, error_rate=error_rate)
    pairs = Pairs(release, ("agree",) * 60, np.zeros(60), pace, objects * found / 10, objects, 0.0)
    return rivals.minutes(pairs, 100, 30, 60)


@pytest.mark.parametrize("rule", [rivals.argo, rivals.flagger, rivals.kayenta])
def test_every_rule_finds_what_is_plain(rule: Callable[[rivals.Minutes], np.ndarray]) -> None:
    for plain in (minutes(slowdown=2), minutes(error_rate=0.5), minutes(found=3)):
        assert rule(plain).all()


def test_twins_pass_flagger_and_kayenta_mostly() -> None:
    twins = minutes()
    assert rivals.flagger(twins).mean() == 0
    assert rivals.kayenta(twins).mean() < 0.2


def test_rare_errors_that_harm_nobody_break_a_threshold_of_99_percent_a_minute() -> None:
    """0.2 % errors, 60 images a minute, 30 minutes: 1 - 0.998^1800 of all rollouts see at least one error."""
    share = rivals.argo(minutes(error_rate=0.002)).mean()
    assert share == pytest.approx(1 - 0.998**1800, abs=0.05)


def test_a_shift_is_estimated_as_by_hodges_and_lehmann() -> None:
    rng = np.random.default_rng(1)
    stable, candidate = rng.normal(0, 1, (200, 20)), rng.normal(1, 1, (200, 20))
    gaps = (candidate[:, :, None] - stable[:, None, :]).reshape(200, -1)
    shift, low, high = rivals._interval(gaps, 20)
    assert shift.mean() == pytest.approx(1, abs=0.1)
    assert ((low <= 1) & (high >= 1)).mean() > 0.94
