"""
What a HorizontalPodAutoscaler (autoscaling/v2, with behavior) decides, as Kubernetes' controller computes it.

After kubernetes v1.34, pkg/controller/podautoscaler: replica_calculator.go (calcPlainMetricReplicas, groupPods),
metrics/utilization.go (GetMetricUsageRatio) and horizontal.go (stabilizeRecommendationWithBehaviors,
convertDesiredReplicasWithBehaviorRate and the limits it asks for). Metrics are whole thousandths, and their mean is
rounded down, as there. Times are seconds on any clock that the caller keeps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Reading:
    """
    One metric over the pods of a target.

    missing: running pods without a value. unready: pods that are pending, and for CPU those not ready either.
    """

    values_milli: Sequence[int]
    target_milli: int
    missing: int = 0
    unready: int = 0
    missing_milli: int | None = None
    """What a missing pod is taken to use when it is about fewer pods; None: the target. For CPU: all it requested."""


@dataclass(frozen=True)
class Policy:
    """So many pods, or per cent of the pods, within a period."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: float


@dataclass(frozen=True)
class Rules:
    """One direction of spec.behavior. select: the policy that allows the largest change, or the smallest."""

    window_s: float
    policies: Sequence[Policy]
    select: Literal["Max", "Min"] = "Max"


@dataclass(frozen=True)
class Spec:
    """tolerance: a ratio of metric to target within 1 +- tolerance changes nothing."""

    least: int
    most: int
    up: Rules
    down: Rules
    tolerance: float = 0.1


def replicas_for(reading: Reading, current: int, tolerance: float = 0.1) -> int:
    """
    The replicas one metric asks for. Raises ValueError without any value: the controller then changes nothing.

    Unready pods count as idle when it is about more pods, missing ones too; when it is about fewer, a missing pod
    counts as right at its target. A correction that turns the direction round changes nothing.
    """
    if not reading.values_milli:
        raise ValueError("no pod has a value")
    ratio = _ratio(reading.values_milli, reading.target_milli)
    counts_unready = reading.unready > 0 and ratio > 1
    if ratio == 1 or (not counts_unready and not reading.missing):
        return current if _is_within(ratio, tolerance) else math.ceil(ratio * len(reading.values_milli))
    corrected = list(reading.values_milli)
    if reading.missing:
        assumed = reading.target_milli if reading.missing_milli is None else reading.missing_milli
        corrected += [assumed if ratio < 1 else 0] * reading.missing
    if counts_unready:
        corrected += [0] * reading.unready
    return _corrected_replicas(ratio, _ratio(corrected, reading.target_milli), len(corrected), current, tolerance)


def _corrected_replicas(before: float, after: float, pods: int, current: int, tolerance: float) -> int:
    if _is_within(after, tolerance) or (before < 1 < after) or (after < 1 < before):
        return current
    wanted = math.ceil(after * pods)
    turned = (after < 1 and wanted > current) or (after > 1 and wanted < current)
    return current if turned else wanted


def _ratio(values_milli: Sequence[int], target_milli: int) -> float:
    return (sum(values_milli) // len(values_milli)) / target_milli


def _is_within(ratio: float, tolerance: float) -> bool:
    return 1 - tolerance <= ratio <= 1 + tolerance


@dataclass
class Controller:
    """One autoscaler with its memory. It is asked every sync period, and what it answers is done."""

    spec: Spec
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _added: list[tuple[float, int]] = field(default_factory=list)
    _removed: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now: float, current: int, readings: Sequence[Reading]) -> int:
        """The replicas from now on. Of several metrics the one that asks for most counts."""
        spec = self.spec
        if not self._recommended:
            self._recommended.append((now, current))
        if current > spec.most or current < spec.least:
            decided = min(max(current, spec.least), spec.most)
        else:
            wanted = self._wanted(current, readings)
            if wanted is None:
                return current
            decided = self._limited(now, current, self._stabilised(now, current, wanted))
        self._remember(now, decided - current)
        return decided

    def _wanted(self, current: int, readings: Sequence[Reading]) -> int | None:
        """None without any value; and a metric that cannot be read forbids fewer pods."""
        readable = [reading for reading in readings if reading.values_milli]
        wanted = max((replicas_for(reading, current, self.spec.tolerance) for reading in readable), default=None)
        if wanted is not None and wanted < current and len(readable) < len(readings):
            return None
        return wanted

    def _stabilised(self, now: float, current: int, wanted: int) -> int:
        """At least the least asked for within the window for up, at most the most within that for down."""
        up, down = wanted, wanted
        for moment, recommended in self._recommended:
            if moment > now - self.spec.up.window_s:
                up = min(up, recommended)
            if moment > now - self.spec.down.window_s:
                down = max(down, recommended)
        self._recommended.append((now, wanted))
        longest_s = max(self.spec.up.window_s, self.spec.down.window_s)
        self._recommended = [kept for kept in self._recommended if kept[0] > now - longest_s] or self._recommended[-1:]
        return min(max(current, up), down)

    def _limited(self, now: float, current: int, wanted: int) -> int:
        spec = self.spec
        if wanted > current:
            return min(wanted, spec.most, max(self._limit_up(now, current), current))
        if wanted < current:
            return max(wanted, spec.least, min(self._limit_down(now, current), current))
        return wanted

    def _limit_up(self, now: float, current: int) -> int:
        proposed = []
        for policy in self.spec.up.policies:
            start = self._at_start(now, current, policy)
            grown = start + policy.value if policy.kind == "Pods" else math.ceil(start * (1 + policy.value / 100))
            proposed.append(grown)
        return max(proposed) if self.spec.up.select == "Max" else min(proposed)

    def _limit_down(self, now: float, current: int) -> int:
        proposed = []
        for policy in self.spec.down.policies:
            start = self._at_start(now, current, policy)
            shrunk = start - policy.value if policy.kind == "Pods" else int(start * (1 - policy.value / 100))
            proposed.append(shrunk)
        return min(proposed) if self.spec.down.select == "Max" else max(proposed)

    def _at_start(self, now: float, current: int, policy: Policy) -> int:
        """Replicas when the policy's period began."""
        added = sum(change for moment, change in self._added if moment > now - policy.period_s)
        removed = sum(change for moment, change in self._removed if moment > now - policy.period_s)
        return current - added + removed

    def _remember(self, now: float, change: int) -> None:
        policies = (*self.spec.up.policies, *self.spec.down.policies)
        longest_s = max((policy.period_s for policy in policies), default=0.0)
        if change:
            (self._added if change > 0 else self._removed).append((now, abs(change)))
        for events in (self._added, self._removed):
            events[:] = [event for event in events if event[0] > now - longest_s]
