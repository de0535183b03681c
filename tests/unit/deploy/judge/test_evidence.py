"""Bets on bounded means: never too eager, quick enough, and of one mind with an independent implementation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ville import BernoulliCS, BernoulliTest, BettingTest

from deploy.judge.confidence import mean_interval, quantile_interval, rate_interval
from deploy.judge.evidence import log_e_above, log_e_below, log_e_split, threshold


def counted(events: np.ndarray, trials: np.ndarray) -> np.ndarray:
    return np.stack([trials - events, events], -1)


def test_a_true_claim_is_given_up_by_no_more_than_alpha_of_all_who_look_after_every_observation() -> None:
    rng = np.random.default_rng(1)
    streams, looks, margin, alpha = 2000, 400, 0.1, 0.05
    events = (rng.random((streams, looks)) < margin).cumsum(1)
    trials = np.broadcast_to(np.arange(1, looks + 1), events.shape)
    ever = (log_e_above(counted(events, trials), (0, 1), margin) >= threshold(alpha)).any(1)
    assert 0 < ever.mean() <= alpha  # it does happen, or the test would see nothing


def test_values_between_0_and_1_keep_the_promise_too() -> None:
    rng = np.random.default_rng(2)
    values = np.linspace(0, 1, 11)
    shares = rng.dirichlet(np.ones(11))
    mean, alpha = float(shares @ values), 0.05
    counts = rng.multinomial(1, shares, (1000, 300)).cumsum(1)
    assert (log_e_above(counts, values, mean) >= threshold(alpha)).any(1).mean() <= alpha
    assert (log_e_below(counts, values, mean) >= threshold(alpha)).any(1).mean() <= alpha


def test_the_expected_wealth_of_one_bet_at_the_margin_is_one() -> None:
    """Not only at most: a bet that could not win would be valid and useless."""
    for margin in (0.01, 0.2, 0.5, 0.9):
        won, lost = (math.exp(float(log_e_above(counts, (0, 1), margin))) for counts in ([0, 1], [1, 0]))
        assert margin * won + (1 - margin) * lost == pytest.approx(1)


@pytest.mark.parametrize("margin, rate", [(0.05, 0.10), (0.5, 0.6), (0.01, 0.05)])
def test_it_finds_what_an_independent_implementation_finds_about_as_soon(margin: float, rate: float) -> None:
    """ville's beta-binomial and plug-in betting tests, on the same streams: within 1.5 times the observations."""
    rng = np.random.default_rng(3)
    ours, theirs = [], []
    for _ in range(40):
        stream = rng.random(6000) < rate
        wealth = log_e_above(counted(stream.cumsum(), np.arange(1, 6001)), (0, 1), margin)
        ours.append(int(np.argmax(wealth >= threshold(0.01))))
        tests = (BernoulliTest(margin, alpha=0.01), BettingTest(margin, alternative="greater", alpha=0.01))
        theirs.append(min(test.fit(stream).stopping_time() or 6001 for test in tests))
    assert 0 < np.median(ours) <= 1.5 * np.median(theirs)


@pytest.mark.parametrize("successes, total", [(0, 1), (0, 50), (7, 200), (200, 200), (510, 1000)])
def test_the_interval_of_a_rate_is_that_of_an_independent_implementation(successes: int, total: int) -> None:
    stream = np.zeros(total)
    stream[:successes] = 1
    expected = BernoulliCS(alpha=0.05, intersect=False).fit(stream).interval()
    assert rate_interval(successes, total, 0.05) == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.integers(0, 500), min_size=5, max_size=5))
def test_the_interval_of_a_mean_holds_the_mean_seen_and_widens_with_the_buckets(counts: list[int]) -> None:
    tally, values = np.array(counts, np.float64), np.linspace(0, 1, 5)
    low, high = mean_interval(tally, values, values, 0.05)
    coarse_low, coarse_high = mean_interval(tally, np.maximum(values - 0.25, 0), values, 0.05)
    seen = tally @ values / tally.sum() if tally.sum() else 0.5
    assert low <= seen <= high
    assert coarse_low <= low + 1e-9 and coarse_high == pytest.approx(high)


def test_a_quantile_is_bracketed_by_bucket_edges_at_every_look() -> None:
    rng = np.random.default_rng(4)
    edges = [0.05, 0.1, 0.2, 0.4, 0.8, math.inf]
    truth = 0.1 * math.exp(1.6449 * 0.5)  # p95 of a lognormal
    missed = 0
    for _ in range(200):
        seconds = 0.1 * np.exp(0.5 * rng.standard_normal(1500))
        brackets = [
            quantile_interval(np.histogram(seconds[:n], [0, *edges])[0].tolist(), edges, 0.95, 0.05)
            for n in range(100, 1501, 100)
        ]
        missed += not all(low <= truth <= high for low, high in brackets)
    assert missed <= 10
    assert brackets[-1] == (0.2, 0.4)


def test_errors_split_between_two_arms_are_judged_by_the_share_of_traffic_whatever_their_number() -> None:
    """At 5 % of the traffic, 5 of 100 errors are nobody's fault and 30 of 100 are the candidate's."""
    assert log_e_above([95, 5], (0, 1), 0.05) < 0 < threshold(0.001) < log_e_above([70, 30], (0, 1), 0.05)


def test_a_split_that_is_not_the_one_stated_is_noticed_and_the_stated_one_is_not() -> None:
    assert log_e_split(9500, 500, 0.05) < threshold(0.01)
    assert log_e_split(9000, 1000, 0.05) > threshold(0.01)
    assert log_e_split(9900, 100, 0.05) > threshold(0.01)


@pytest.mark.parametrize("mean", [0.0, 1.0, -0.1])
def test_a_margin_at_which_no_bet_can_be_fair_is_refused(mean: float) -> None:
    with pytest.raises(ValueError, match="mean"):
        log_e_above([1, 1], (0, 1), mean)


def test_values_beyond_the_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="values"):
        log_e_above([1, 1], (0, 1.5), 0.5)
