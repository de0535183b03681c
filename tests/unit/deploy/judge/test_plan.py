"""What traffic can tell is told before it flows."""

import numpy as np
import pytest

from deploy.judge.evidence import log_e_above, threshold
from deploy.judge.guards import Guard, Tally, read
from deploy.judge.plan import POWER, CannotTell, make_plan, pairs_needed

ERRORS = Guard("errors", "how many images fail", 0.02, 0.5)


def test_the_promised_pairs_are_enough_with_the_promised_power() -> None:
    pairs = pairs_needed(0.06, 0.02, 0.005)
    assert pairs is not None
    rng = np.random.default_rng(9)  # other draws than the plan's own
    events = rng.binomial(pairs, 0.06, 4000)
    power = (log_e_above(np.stack([pairs - events, events], -1), (0, 1), 0.02) >= threshold(0.005)).mean()
    assert power >= POWER - 0.03
    fewer = rng.binomial(pairs // 2, 0.06, 4000)
    assert (log_e_above(np.stack([pairs // 2 - fewer, fewer], -1), (0, 1), 0.02) >= threshold(0.005)).mean() < POWER


def test_a_plan_says_what_it_finds_and_by_when() -> None:
    plan = make_plan([(ERRORS, 0.002)], 50, 60, 0.01, 0.05)
    (line,) = plan.sentences()
    assert "errors (at most 0.02 allowed)" in line and "min" in line
    (prospect,) = plan.prospects
    assert prospect.detects is not None and 0.02 < prospect.detects < 0.06


def test_a_plan_that_cannot_clear_even_a_good_release_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(CannotTell, match=r"errors: 30 pairs .* \d+ are needed. Mirror a larger share"):
        make_plan([(ERRORS, 0.002)], 1, 30, 0.01, 0.05)


def test_a_plan_that_expects_what_it_forbids_is_refused() -> None:
    with pytest.raises(CannotTell, match="no traffic is enough"):
        make_plan([(ERRORS, 0.02)], 1000, 60, 0.01, 0.05)


def test_a_plan_without_traffic_is_refused() -> None:
    with pytest.raises(CannotTell):
        make_plan([(ERRORS, 0.002)], 0, 60, 0.01, 0.05)


@pytest.mark.parametrize(
    "events, total, state", [(0, 0, "open"), (1, 60, "open"), (0, 400, "fine"), (30, 400, "worse")]
)
def test_a_guard_is_open_until_the_evidence_is_in(events: int, total: int, state: str) -> None:
    reading = read(ERRORS, Tally.of_events(events, total), 0.01, 0.05)
    assert reading.state == state
    assert reading.observations == total
    low, high = reading.interval
    assert low <= (reading.mean if reading.mean is not None else 0.5) <= high


def test_coarse_buckets_delay_both_answers_and_change_neither() -> None:
    counts = np.array([900.0, 100.0])
    exact = read(ERRORS, Tally(counts, np.array([0.0, 0.5]), np.array([0.0, 0.5])), 0.01, 0.05)
    coarse = read(ERRORS, Tally(counts, np.array([0.0, 0.01]), np.array([0.0, 0.5])), 0.01, 0.05)
    assert exact.state == "worse" and coarse.state == "open"
    assert coarse.log_e_worse < exact.log_e_worse
