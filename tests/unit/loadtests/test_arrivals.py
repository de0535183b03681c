"""When requests are due."""

import numpy as np
import pytest

from loadtests.arrivals import Step, poisson_arrivals_s, stepped_arrivals_s


def test_arrivals_come_at_the_asked_rate() -> None:
    """Over 1000 s at 20/s the count is 20 000, within five standard deviations of a Poisson count."""
    assert abs(len(poisson_arrivals_s(20.0, 1000.0, seed=1)) - 20_000) < 5 * np.sqrt(20_000)


def test_gaps_are_exponential() -> None:
    """Independent callers: the gaps follow 1 - exp(-rate t), by the Kolmogorov-Smirnov distance at a level of 0.1 %."""
    gaps_s = np.sort(np.diff(poisson_arrivals_s(20.0, 1000.0, seed=2)))
    observed = np.arange(1, len(gaps_s) + 1) / len(gaps_s)
    distance = np.abs(observed - (1 - np.exp(-20.0 * gaps_s))).max()
    assert distance < 1.95 / np.sqrt(len(gaps_s))


def test_arrivals_lie_within_the_duration_in_order() -> None:
    """Nothing is due before the run begins or after it ends."""
    arrivals_s = poisson_arrivals_s(50.0, 3.0, seed=3)
    assert arrivals_s == sorted(arrivals_s)
    assert arrivals_s[0] >= 0.0
    assert arrivals_s[-1] < 3.0


def test_the_same_seed_gives_the_same_schedule() -> None:
    """Two services can be offered exactly the same traffic."""
    assert poisson_arrivals_s(10.0, 5.0, seed=4) == poisson_arrivals_s(10.0, 5.0, seed=4)
    assert poisson_arrivals_s(10.0, 5.0, seed=4) != poisson_arrivals_s(10.0, 5.0, seed=5)


def test_a_longer_run_continues_a_shorter_one() -> None:
    """Lengthening a run changes nothing of what was seen before."""
    short_s, long_s = poisson_arrivals_s(10.0, 5.0, seed=6), poisson_arrivals_s(10.0, 10.0, seed=6)
    assert long_s[: len(short_s)] == short_s


@pytest.mark.parametrize(("rate_per_s", "duration_s"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0)])
def test_a_schedule_without_rate_or_duration_is_refused(rate_per_s: float, duration_s: float) -> None:
    """Nonsense is said to be nonsense, and does not loop for ever."""
    with pytest.raises(ValueError, match="must be above 0"):
        poisson_arrivals_s(rate_per_s, duration_s, seed=0)


def test_steps_follow_one_another_each_at_its_own_rate() -> None:
    """A burst of 10 s at 100/s between calms of 10 s at 10/s, within five standard deviations."""
    steps = [Step("calm", 10.0, 10.0), Step("burst", 100.0, 10.0), Step("after", 10.0, 10.0)]
    arrivals = stepped_arrivals_s(steps, seed=7)
    assert arrivals == sorted(arrivals)
    for name, begin_s, expected in (("calm", 0, 100), ("burst", 10, 1000), ("after", 20, 100)):
        due_s = [moment_s for moment_s, step in arrivals if step == name]
        assert abs(len(due_s) - expected) < 5 * np.sqrt(expected)
        assert begin_s <= due_s[0] and due_s[-1] < begin_s + 10
