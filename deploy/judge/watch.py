"""A rollout looked at again and again until there is an answer, or the horizon."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploy.judge.confidence import mean_interval
from deploy.judge.details import ShadowDetails
from deploy.judge.prometheus import NothingCounted, Prometheus, PrometheusUnavailable
from deploy.judge.shadow_gate import Policy, ShadowCounts, judge, judge_arms, tallies
from deploy.judge.verdict import Decision, Verdict, decide


@dataclass(frozen=True)
class Rollout:
    """Which pairs are the candidate's. twin: the name under which a stable replica is shadowed, for the noise floor."""

    candidate: str
    selector: str = ""
    twin: str | None = None
    warm_up_s: float = 0.0  # after the first pair; what is counted by then is no evidence
    window_s: float = 30.0  # in which requests to both arms are compared, whole seconds; not shorter than scrapes


def look(prometheus: Prometheus, rollout: Rollout, policy: Policy, start: float, end: float) -> Verdict:
    """
    The verdict on everything counted between start and end, seconds since the epoch, of pairs and of split traffic.

    Where nothing can be measured it is undecided and says why.
    """
    subject = {"candidate": rollout.candidate, "selector": rollout.selector, "from": start, "to": end}
    try:
        arms = prometheus.arms(rollout.candidate, rollout.selector, start, end, rollout.window_s)
        arms = arms.after_warm_up(rollout.warm_up_s)
        try:
            counts, floor = _of_pairs(prometheus, rollout, policy, start, end)
        except NothingCounted as error:
            return judge_arms(arms, policy, subject, [str(error)])
    except PrometheusUnavailable as error:
        return decide(subject, [], [f"Prometheus cannot be asked: {error}"])
    return judge(replace(counts, arms=arms), replace(policy, floor=floor), {**subject, "floor": floor})


def _of_pairs(
    prometheus: Prometheus, rollout: Rollout, policy: Policy, start: float, end: float
) -> tuple[ShadowCounts, float]:
    """What is counted of pairs, and the floor. Raises NothingCounted."""
    counts = prometheus.shadow_counts(rollout.candidate, rollout.selector, start, end)
    if rollout.warm_up_s:
        counts = _warm(prometheus, rollout, counts, end)
    return counts, policy.floor if rollout.twin is None else _floor(prometheus, rollout, policy, start, end)


def _warm(prometheus: Prometheus, rollout: Rollout, counts: ShadowCounts, end: float) -> ShadowCounts:
    """What was counted since the warm-up. Raises NothingCounted while it lasts."""
    warm_at = (counts.first_s or end) + rollout.warm_up_s
    if warm_at >= end:
        raise NothingCounted(f"warming up: pairs count from {warm_at - end:.0f} s on")
    return prometheus.shadow_counts(rollout.candidate, rollout.selector, warm_at, end)


def _floor(prometheus: Prometheus, rollout: Rollout, policy: Policy, start: float, end: float) -> float:
    """What two stable replicas may differ by: the upper end of the interval of their mean disagreement."""
    counts = prometheus.shadow_counts(rollout.twin or "", rollout.selector, start, end)
    _, shares, _ = tallies(counts, policy)
    if shares.total < policy.least_pairs:
        raise NothingCounted(f"{shares.total} pairs of the stable twin {rollout.twin}; {policy.least_pairs} are needed")
    return mean_interval(shares.counts, shares.low, shares.high, policy.alpha_promote)[1]


def details_of(prometheus: Prometheus, verdict: Verdict) -> ShadowDetails | None:
    """Those of the pairs that were judged; None where there are none: a verdict is worth its report without them."""
    seen = verdict.subject
    try:
        return prometheus.shadow_details(seen["candidate"], seen["selector"], seen["from"], seen["to"])
    except (PrometheusUnavailable, KeyError):  # KeyError: it ended before anything was looked at
        return None


def watch(
    prometheus: Prometheus, rollout: Rollout, policy: Policy, horizon_s: float, every_s: float, start: float
) -> Iterator[Verdict]:
    """A verdict each every_s until one is decided, at the latest at the horizon; the last one yielded counts."""
    while True:
        now = time.time()
        verdict = look(prometheus, rollout, policy, start, now)
        yield verdict
        if verdict.decision is not Decision.UNDECIDED or now - start >= horizon_s:
            return
        time.sleep(min(every_s, max(0.0, start + horizon_s - now)))


def at_horizon(verdict: Verdict, undecided_means: Decision) -> Verdict:
    """What an undecided rollout becomes when its time is up; evidence that is unfit stays undecided."""
    if verdict.decision is not Decision.UNDECIDED or verdict.unfit or undecided_means is Decision.UNDECIDED:
        return verdict
    reasons = (f"undecided at the horizon, which is set to mean {undecided_means}", *verdict.reasons)
    return replace(verdict, decision=undecided_means, reasons=reasons)
