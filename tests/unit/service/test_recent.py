"""The last minute of requests."""

import pytest

from service.recent import RecentRequests


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_latency_and_rate_are_of_the_last_minute_alone() -> None:
    """A hundred answers, a refusal; what ended more than a minute ago no longer counts."""
    clock = Clock()
    recent = RecentRequests(clock)
    recent.add("m", "1", 60.0)
    clock.now_s += 100
    for n in range(1, 101):
        recent.add("m", "1", n / 100)
    recent.add("m", "1", None)
    found = recent.of("m", "1")
    assert (found.requests, found.failed, found.p50_s, found.p95_s) == (101, 1, 0.5, 0.95)
    assert found.answers_per_s == pytest.approx(100 / 60)


def test_a_young_process_divides_by_its_age() -> None:
    """Ten answers in the first five seconds are two a second; another version has none."""
    clock = Clock()
    recent = RecentRequests(clock)
    clock.now_s += 5
    for _ in range(10):
        recent.add("m", "1", 0.1)
    assert recent.of("m", "1").answers_per_s == pytest.approx(2)
    assert recent.of("m", "2").p95_s is None and recent.of("m", "2").requests == 0
