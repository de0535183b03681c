"""What scenarios are run to find out."""

import pytest

from loadtests.findings import of_overload, of_ramp, recovery_s
from loadtests.report import summarise
from loadtests.samples import Reply, Sample

OK, REFUSED = Reply(200), Reply(429, retry_after_s=1.0)


def stream(kind: str, begin_s: float, count: int, every_s: float, latency_ms: float, reply: Reply = OK) -> list[Sample]:
    dues_s = [begin_s + number * every_s for number in range(count)]
    return [Sample("a", due_s, due_s, due_s + latency_ms / 1e3, reply, kind) for due_s in dues_s]


def test_the_knee_is_the_last_rate_before_callers_wait() -> None:
    """20/s is as quick as 10/s; at 40/s p95 is five times as long."""
    samples = stream("10/s", 0, 50, 0.1, 20) + stream("20/s", 5, 100, 0.05, 22) + stream("40/s", 10, 200, 0.025, 100)
    assert of_ramp(summarise("ramp", {}, samples), [10, 20, 40]) == {"knee_per_s": 20}


def test_refusals_are_beyond_the_knee_too() -> None:
    """Quick refusals are no answers, and a service that refuses at the first step has no knee."""
    refused = stream("20/s", 5, 100, 0.05, 1, REFUSED)
    assert of_ramp(summarise("ramp", {}, stream("10/s", 0, 50, 0.1, 20) + refused), [10, 20]) == {"knee_per_s": 10}
    assert of_ramp(summarise("ramp", {}, refused + stream("x", 0, 1, 1, 1)), [10, 20]) != {"knee_per_s": 20}


def test_an_overload_is_judged_by_goodput_refusals_and_recovery() -> None:
    """Capacity 10/s, 8 s a step: 9/s answered under overload, refusals in 2 ms, and normal at once afterwards."""
    samples = stream("before", 0, 40, 0.2, 50)
    samples += stream("overload", 8, 72, 1 / 9, 500) + stream("overload", 8, 100, 0.08, 2, REFUSED)
    samples += stream("after", 16, 40, 0.2, 50)
    found = of_overload(samples, capacity_per_s=10.0, step_s=8.0)
    assert found["goodput_over_capacity"] == pytest.approx(0.9, abs=0.02)
    assert found["refusal_p99_ms"] == pytest.approx(2, rel=0.01)
    assert found["recovery_s"] == pytest.approx(0, abs=0.01)


def test_recovery_counts_until_nobody_waits_or_is_refused() -> None:
    """Three seconds of long waits and a refusal after them: back to normal when both are over."""
    slow = stream("after", 10, 30, 0.1, 400)
    refused = stream("after", 13, 1, 1, 1, REFUSED)
    quick = stream("after", 13.1, 50, 0.1, 50)
    assert recovery_s(slow + refused + quick, 10.0, normal_p95_ms=50) == pytest.approx(3.1)
    assert recovery_s(slow, 10.0, normal_p95_ms=50) is None
