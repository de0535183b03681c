"""What is asked of a candidate, one bounded mean each, and what has been learned of it so far."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from deploy.judge.confidence import mean_interval
from deploy.judge.evidence import Floats, log_e, log_e_above, log_e_below, log_wealth_of_share, threshold

State = Literal["worse", "fine", "open"]


@dataclass(frozen=True)
class Guard:
    """
    The candidate may not have a mean above margin. weight is its share of the alpha kept for rolling back.

    Promoting takes evidence that the mean is below the margin; rolling back takes evidence that it is above what is
    tolerated, at most the margin. Between the two either answer is right (Wald's zone of indifference): the wider it
    is, the sooner one comes.
    """

    name: str
    question: str  # for people: what the mean is of
    margin: float  # (0, 1)
    weight: float  # shares of all guards add up to 1
    tolerance: float | None = None  # (0, margin]; None: the margin

    @property
    def tolerated(self) -> float:
        return self.margin if self.tolerance is None else self.tolerance


@dataclass(frozen=True)
class Tally:
    """Observations in [0, 1] by bucket: counts, low and high edges, each (B,); equal edges where values are exact."""

    counts: Floats
    low: Floats
    high: Floats

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @classmethod
    def of_events(cls, events: float, total: float) -> "Tally":
        """Something that happened in `events` of `total` cases."""
        values = np.array([0.0, 1.0])
        return cls(np.array([total - events, events], np.float64), values, values)


@dataclass(frozen=True)
class Reading:
    """One guard after all that was seen until now."""

    guard: Guard
    observations: int
    mean: float | None  # of bucket middles; None without observations
    interval: tuple[float, float]  # 95 %, at all times at once
    log_e_worse: float  # against "the mean is at most what is tolerated"
    log_e_fine: float  # against "the mean is at least the margin"
    state: State


def read(guard: Guard, tally: Tally, alpha_rollback: float, alpha_promote: float) -> Reading:
    """
    Buckets count by the edge that favours caution: the low one for worse, the high one for fine.

    alpha_rollback is for all guards together and split by weight (union bound). alpha_promote is not split: a release
    is promoted only if every guard is fine, and a bad one has at least one guard that is wrongly so (Berger 1982).
    """
    worse = float(log_e_above(tally.counts, tally.low, guard.tolerated))
    fine = float(log_e_below(tally.counts, tally.high, guard.margin))
    mean = float(tally.counts @ (tally.low + tally.high) / 2 / tally.total) if tally.total else None
    state: State = "open"
    if worse >= threshold(alpha_rollback * guard.weight):
        state = "worse"
    elif fine >= threshold(alpha_promote):
        state = "fine"
    interval = mean_interval(tally.counts, tally.low, tally.high, 0.05)
    return Reading(guard, tally.total, mean, interval, worse, fine, state)


@dataclass(frozen=True)
class Harm:
    """
    What a candidate may have a share of, and `times` as much as the stable model has of the same, whatever that is.

    guard.margin is that share. Both must be exceeded to roll back; none of it is needed to promote.
    """

    guard: Guard
    times: float  # at least 1


@dataclass(frozen=True)
class Counted:
    """events among total trials of the candidate's; own of both arms' events in each stratum, and the fair share."""

    events: float
    total: float
    own: Floats  # (S,)
    both: Floats  # (S,)
    fair: Floats  # (S,), in (0, 1): the candidate's at the most that is allowed


def read_harm(harm: Harm, seen: Counted, alpha_rollback: float, alpha_promote: float) -> Reading:
    """
    Two claims, that the share is allowed and that the stable model has as much, are both to be given up to roll back.

    Whichever of them is true gives evidence against itself of at most 1 in the mean, so the lesser of the two is
    evidence against "one of them is true".
    """
    guard, tally = harm.guard, Tally.of_events(seen.events, seen.total)
    alone = read(guard, tally, alpha_rollback, alpha_promote)
    compared = float(log_e(log_wealth_of_share(seen.own, seen.both, seen.fair).sum(0)))
    worse = min(alone.log_e_worse, compared)
    state: State = "open" if alone.state == "worse" else alone.state
    if worse >= threshold(alpha_rollback * guard.weight):
        state = "worse"
    return replace(alone, log_e_worse=worse, state=state)
