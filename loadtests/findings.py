"""What a scenario was run to find out, computed from its samples: the knee of a ramp, the cost of an overload."""

from collections.abc import Mapping, Sequence

from loadtests.histogram import percentiles
from loadtests.report import Summary
from loadtests.samples import Sample

KNEE_SHARE_OK = 0.99
KNEE_SLOWDOWN = 3.0
"""A step is beyond the knee when fewer are answered than KNEE_SHARE_OK, or p95 is this many times the first step's."""

NORMAL_SLOWDOWN = 1.5
"""Latency counts as back to normal within this factor of the p95 before."""

WINDOW_S = 0.5


def of_ramp(summary: Summary, rates_per_s: Sequence[float]) -> Mapping[str, float | None]:
    """The highest rate before the first step that is beyond the knee; None if the first one is already."""
    knee: float | None = None
    first_p95_ms: float | None = None
    for rate, group in zip(rates_per_s, summary.kinds.values(), strict=False):
        if group.latency_ms is None or group.ok < KNEE_SHARE_OK * group.sent:
            break
        first_p95_ms = first_p95_ms or group.latency_ms.p95
        if group.latency_ms.p95 > KNEE_SLOWDOWN * first_p95_ms:
            break
        knee = rate
    return {"knee_per_s": knee}


def of_overload(samples: Sequence[Sample], capacity_per_s: float, step_s: float) -> Mapping[str, float | None]:
    """Samples of the kinds before, overload and after, each step_s long -> what the overload cost."""
    before = percentiles([s.latency_ms for s in samples if s.kind == "before" and s.is_ok])
    refusals = percentiles([s.latency_ms for s in samples if s.kind == "overload" and s.is_refusal])
    # By the moment of the answer, and without the first second, in which the queue is only filling.
    counted_s = (step_s + min(1.0, step_s / 4), 2 * step_s)
    good = sum(s.is_ok and counted_s[0] <= s.done_s < counted_s[1] for s in samples)
    goodput_per_s = good / (counted_s[1] - counted_s[0])
    return {
        "capacity_per_s": capacity_per_s,
        "goodput_per_s": goodput_per_s,
        "goodput_over_capacity": goodput_per_s / capacity_per_s,
        "refusal_p99_ms": refusals.p99 if refusals else None,
        "normal_p95_ms": before.p95 if before else None,
        "recovery_s": recovery_s(samples, 2 * step_s, before.p95) if before else None,
    }


def recovery_s(samples: Sequence[Sample], overload_end_s: float, normal_p95_ms: float) -> float | None:
    """
    Seconds from the end of an overload until p95 is normal again and nobody is refused: the beginning of the first
    window of WINDOW_S of which both are true. None if that never comes.
    """
    after = sorted((s for s in samples if s.due_s >= overload_end_s), key=lambda s: s.due_s)
    for first in after:
        window = [s for s in after if first.due_s <= s.due_s < first.due_s + WINDOW_S]
        spread = percentiles([s.latency_ms for s in window])
        if spread and all(s.is_ok for s in window) and spread.p95 <= NORMAL_SLOWDOWN * normal_p95_ms:
            return first.due_s - overload_end_s
    return None
