"""Images by the second and by the day."""

import pytest

from service.errors import QuotaExceeded, RateLimited
from service.security.allowance import Allowance, Allowances, Rate


class Clock:
    """A clock set by hand, in seconds."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    """Three at once of a bucket of three; then one every half second, and told how long to wait."""
    clock = Clock(100.0)
    allowance = Allowance(Rate(images_per_s=2.0, burst=3), monotonic=clock)
    for _ in range(3):
        allowance.charge()
    with pytest.raises(RateLimited) as refused:
        allowance.charge()
    assert refused.value.retry_after_s == pytest.approx(0.5)
    clock.now_s += 0.5
    allowance.charge()
    with pytest.raises(RateLimited):
        allowance.check()


def test_a_slow_rate_still_lets_one_through() -> None:
    """One image in ten seconds is a rate, not a ban."""
    clock = Clock(0.0)
    allowance = Allowance(Rate(images_per_s=0.1), monotonic=clock)
    allowance.charge()
    with pytest.raises(RateLimited) as refused:
        allowance.charge()
    assert refused.value.retry_after_s == pytest.approx(10.0)


def test_a_quota_ends_at_midnight_utc_and_not_when_the_clock_is_set_back() -> None:
    """The wait is that until midnight; a clock that jumps back gives nothing away."""
    day_s = 86_400.0
    clock = Clock(20 * day_s - 60)
    allowance = Allowance(Rate(images_per_day=2), wall=clock)
    allowance.charge()
    allowance.charge()
    with pytest.raises(QuotaExceeded) as refused:
        allowance.charge()
    assert refused.value.retry_after_s == pytest.approx(60)
    clock.now_s -= day_s
    with pytest.raises(QuotaExceeded):
        allowance.charge()
    clock.now_s = 20 * day_s + 1
    allowance.charge()


def test_callers_do_not_share_and_keep_what_they_used() -> None:
    """The same name and rate is the same allowance; another name, or a changed rate, is another."""
    allowances, rate = Allowances(), Rate(images_per_day=1)
    allowances.of("a", rate).charge()
    with pytest.raises(QuotaExceeded):
        allowances.of("a", rate).check()
    allowances.of("b", rate).check()
    allowances.of("a", Rate(images_per_day=2)).check()


def test_made_up_names_do_not_fill_memory() -> None:
    """Beyond ten thousand callers, those not seen for longest are forgotten."""
    allowances, rate = Allowances(), Rate(images_per_day=1)
    allowances.of("first", rate).charge()
    for index in range(10_000):
        allowances.of(f"caller {index}", rate)
    allowances.of("first", rate).charge()


def test_several_views_are_owed_if_they_are_more_than_there_was() -> None:
    """Six of a bucket of two: let in once, and the next waits until they are paid for; the day's count has them all."""
    clock = Clock(0.0)
    allowance = Allowance(Rate(images_per_s=1.0, burst=2, images_per_day=7), monotonic=clock, wall=Clock(0.0))
    allowance.charge(6)
    with pytest.raises(RateLimited) as refused:
        allowance.charge()
    assert refused.value.retry_after_s == pytest.approx(5.0)
    clock.now_s += 5
    allowance.charge()
    with pytest.raises(QuotaExceeded):
        clock.now_s += 9
        allowance.check()
