"""From counts of shadow pairs to a verdict: three guards, each a bounded mean against its margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deploy.judge.evidence import threshold
from deploy.judge.guards import Guard, Reading, Tally, read
from deploy.judge.verdict import Finding, Verdict, decide


@dataclass(frozen=True)
class Policy:
    """What a candidate may cost, and how sure one wants to be."""

    errors: float = 0.002  # images it fails on; more than half of it is not tolerated
    disagreement: float = 0.05  # mean share of objects without a partner that agrees, above the floor
    floor: float = 0.0  # the same between two stable replicas, measured
    slower_than: float = 1.1  # an image counts as slower above this, as faster below its inverse
    slower: float = 0.65  # mean of 1 for slower, 0.5 for the same, 0 for faster; two equals have 0.5
    alpha_rollback: float = 0.01  # of all guards together
    alpha_promote: float = 0.05
    least_pairs: int = 20  # fewer decide nothing

    def guards(self) -> tuple[Guard, Guard, Guard]:
        return (
            Guard("errors", "share of images the candidate failed on", self.errors, 0.5, self.errors / 2),
            Guard("disagreement", "share of objects that find no agreement", self.floor + self.disagreement, 0.3),
            Guard("latency", "slower 1, same 0.5, faster 0", self.slower, 0.2),
        )


@dataclass(frozen=True)
class Buckets:
    """A histogram: counts (B,) of what lies above the edge before and up to upper_edges (B,), the last infinite."""

    upper_edges: Sequence[float]
    counts: Sequence[float]

    @classmethod
    def of(cls, values: Sequence[float], upper_edges: Sequence[float]) -> "Buckets":
        edges = (*upper_edges, np.inf)
        places = np.searchsorted(edges, np.asarray(values, np.float64), "left")
        return cls(edges, np.bincount(places, minlength=len(edges)).astype(float).tolist())


@dataclass(frozen=True)
class ShadowCounts:
    """What the counters of all pods have grown by since the rollout began."""

    images: Mapping[str, float]  # by outcome
    disagreement: Buckets
    slowdown: Buckets
    objects: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, float] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        return int(sum(self.images.values()))


def judge(counts: ShadowCounts, policy: Policy, subject: Mapping[str, Any], unfit: Sequence[str] = ()) -> Verdict:
    """unfit: what is known to be wrong with the counts themselves."""
    problems = list(unfit)
    if not problems and counts.pairs < policy.least_pairs:
        dropped = ", ".join(f"{count:g} {reason}" for reason, count in counts.dropped.items() if count) or "none"
        problems.append(f"{counts.pairs} pairs; at least {policy.least_pairs} are needed (dropped: {dropped})")
    readings = [
        read(guard, tally, policy.alpha_rollback, policy.alpha_promote)
        for guard, tally in zip(policy.guards(), tallies(counts, policy), strict=True)
    ]
    told = {"pairs": counts.pairs, "images": dict(counts.images), "objects": dict(counts.objects)}
    return decide({**subject, **told}, [_finding(reading, policy) for reading in readings], problems)


def tallies(counts: ShadowCounts, policy: Policy) -> tuple[Tally, Tally, Tally]:
    """In the order of Policy.guards."""
    return (
        Tally.of_events(counts.images.get("candidate_error", 0.0), counts.pairs),
        _shares(counts.disagreement),
        _slower(counts.slowdown, policy.slower_than),
    )


def _shares(buckets: Buckets) -> Tally:
    high = np.clip(np.asarray(buckets.upper_edges, np.float64), 0, 1)
    low = np.concatenate([[0.0], high[:-1]])
    return Tally(np.asarray(buckets.counts, np.float64), low, high)


def _slower(buckets: Buckets, limit: float) -> Tally:
    """Buckets that reach across the limit count as the same: pace is judged by what is surely slower or faster."""
    high = np.asarray(buckets.upper_edges, np.float64)
    low = np.concatenate([[0.0], high[:-1]])
    value = np.where(low >= limit * (1 - 1e-9), 1.0, np.where(high <= (1 + 1e-9) / limit, 0.0, 0.5))
    return Tally(np.asarray(buckets.counts, np.float64), value, value)


def _finding(reading: Reading, policy: Policy) -> Finding:
    guard, (low, high) = reading.guard, reading.interval
    mean = "nothing seen" if reading.mean is None else f"{reading.mean:.4f} [{low:.4f}, {high:.4f}]"
    than = f" than {guard.tolerated:.4g}" if guard.tolerated < guard.margin else ""
    words = (
        f"{guard.question}: {mean}, at most {guard.margin:.4g} allowed; e = {_e(reading.log_e_worse)} that it is more"
        f"{than}, e = {_e(reading.log_e_fine)} that it is less, after {reading.observations} pairs"
    )
    figures = {
        "mean": reading.mean,
        "interval": [low, high],
        "margin": guard.margin,
        "tolerated": guard.tolerated,
        "log_e_worse": reading.log_e_worse,
        "log_e_fine": reading.log_e_fine,
        "log_e_rollback": threshold(policy.alpha_rollback * guard.weight),
        "log_e_promote": threshold(policy.alpha_promote),
        "observations": reading.observations,
    }
    return Finding(guard.name, reading.state, words, figures)


def _e(log_e: float) -> str:
    return f"{np.exp(min(log_e, 600.0)):.3g}"
