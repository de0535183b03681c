"""Many rollouts at once: streams of pairs, looked at again and again, and when the judge speaks in each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.judge.evidence import Floats, log_e_above, log_e_below, threshold
from deploy.judge.guards import Guard, Tally
from deploy.judge.proof.harms import tail_worse
from deploy.judge.proof.pairs import Pairs
from deploy.judge.shadow_gate import Buckets, Policy, ShadowCounts, slow_tail, tallies

_AT_ONCE = 250  # rollouts in memory together

DISAGREEMENT_EDGES = (
    0,
    0.01,
    0.02,
    0.035,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1,
)  # as the service counts
SLOWDOWN_EDGES = (0.25, 0.5, 2 / 3, 0.8, 1 / 1.1, 1, 1.1, 1.25, 1.5, 2, 4)


@dataclass(frozen=True)
class Spoken:
    """For each rollout: +1 promote, -1 roll back, 0 undecided at the horizon; and the pairs it took."""

    decisions: NDArray[np.int64]
    pairs: NDArray[np.int64]

    def share(self, decision: int) -> float:
        return float((self.decisions == decision).mean())

    def median_pairs(self, decision: int) -> int | None:
        taken = self.pairs[self.decisions == decision]
        return int(np.median(taken)) if taken.size else None


def chances_of(pairs: Pairs, policy: Policy) -> list[tuple[Guard, Tally]]:
    """Each guard with the buckets a pair may fall into; the counts are chances and add up to 1."""
    total = len(pairs.outcomes)
    failed = pairs.release.error_rate + sum(outcome == "candidate_error" for outcome in pairs.outcomes) / total
    counts = ShadowCounts(
        {"candidate_error": failed, "agree": 1 - failed},
        Buckets.of(pairs.disagreement.tolist(), DISAGREEMENT_EDGES),
        Buckets.of(pairs.slowdown.tolist(), SLOWDOWN_EDGES),
    )
    errors, shares, slower = tallies(counts, policy)
    values = np.array([0.0, 1.0])
    errors = Tally(np.array([1 - failed, failed]), values, values)
    found = [errors, *(Tally(t.counts / t.counts.sum(), t.low, t.high) for t in (shares, slower))]
    return list(zip(policy.guards(), found, strict=True))


def tail_chances(pairs: Pairs, policy: Policy) -> Floats:
    """(3,): of a pair much slower, much quicker, and neither, as the judge counts them."""
    seen = slow_tail(Buckets.of(pairs.slowdown.tolist(), SLOWDOWN_EDGES), policy)
    slower, extreme = float(seen.own[0]), float(seen.both[0])
    return np.array([slower, extreme - slower, seen.total - extreme]) / seen.total


def roll_out(
    chances: Sequence[tuple[Guard, Tally]],
    policy: Policy,
    rollouts: int,
    horizon: int,
    step: int,
    tail: Floats | None = None,
    seed: int = 0,
) -> Spoken:
    """
    `rollouts` streams of `horizon` pairs drawn at these chances, looked at every `step` pairs; the first answer counts.

    tail: chances (3,) of a pair much slower, much quicker, and neither. A pair's guards are drawn apart from each
    other: the union bound holds however they hang together.
    """
    rng = np.random.default_rng(seed)
    looks = horizon // step
    decisions, taken = [], []
    for start in range(0, rollouts, _AT_ONCE):
        some = min(_AT_ONCE, rollouts - start)
        worse, fine = np.zeros((some, looks), bool), np.ones((some, looks), bool)
        for guard, tally in chances:
            counts = rng.multinomial(step, tally.counts / tally.counts.sum(), (some, looks)).cumsum(1)
            worse |= log_e_above(counts, tally.low, guard.tolerated) >= threshold(policy.alpha_rollback * guard.weight)
            fine &= log_e_below(counts, tally.high, guard.margin) >= threshold(policy.alpha_promote)
        if tail is not None:
            worse |= tail_worse(tail, policy, (some, looks), step, rng)
        seen = step * np.arange(1, looks + 1) >= policy.least_pairs
        first_worse, first_fine = (_first(answer & seen, looks) for answer in (worse, fine))
        decisions.append(np.where(first_worse <= first_fine, -1, 1) * (np.minimum(first_worse, first_fine) < looks))
        taken.append((np.minimum(np.minimum(first_worse, first_fine), looks - 1) + 1) * step)
    return Spoken(np.concatenate(decisions), np.concatenate(taken))


def at_the_margin(policy: Policy) -> list[tuple[Guard, Tally]]:
    """The hardest release that is not worse: every guard's mean exactly what is tolerated, 0 or 1 each time."""
    values: Floats = np.array([0.0, 1.0])
    chances = [(guard, np.array([1 - guard.tolerated, guard.tolerated])) for guard in policy.guards()]
    return [(guard, Tally(both, values, values)) for guard, both in chances]


def ever_rolled_back(
    chances: Sequence[tuple[Guard, Tally]], policy: Policy, rollouts: int, horizon: int, step: int
) -> NDArray[np.bool_]:
    """(rollouts,): whether any look says that a guard is worse, had promotion not come first."""
    rng = np.random.default_rng(1)
    looks, found = horizon // step, []
    for start in range(0, rollouts, _AT_ONCE):
        some = min(_AT_ONCE, rollouts - start)
        worse = np.zeros(some, bool)
        for guard, tally in chances:
            worse |= _crossed(guard, tally, threshold(policy.alpha_rollback * guard.weight), (some, looks), step, rng)
        found.append(worse)
    return np.concatenate(found)


def _crossed(
    guard: Guard, tally: Tally, limit: float, shape: tuple[int, int], step: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(rollouts,), for shape (rollouts, looks): whether the evidence of too high a mean ever reached limit."""
    seen = tally.counts > 0
    if not set(tally.low[seen].tolist()) <= {0.0, 1.0}:
        counts = rng.multinomial(step, tally.counts / tally.counts.sum(), shape).cumsum(1)
        return np.asarray((log_e_above(counts, tally.low, guard.tolerated) >= limit).any(1))
    rate = tally.counts[tally.low == 1].sum() / tally.counts.sum()
    events = rng.binomial(step, min(rate, 1.0), shape).cumsum(1)
    totals = step * np.arange(1, shape[1] + 1)
    return np.asarray((events >= _least_events(guard.tolerated, totals, limit)).any(1))


def _least_events(mean: float, totals: NDArray[np.int64], limit: float) -> NDArray[np.int64]:
    """(looks,): the fewest events among totals (looks,) whose evidence reaches limit; evidence rises with events."""
    fewest, most = np.zeros_like(totals), totals + 1
    while (most - fewest > 1).any():
        middle = (fewest + most) // 2
        reached = log_e_above(np.stack([totals - middle, middle], -1), (0, 1), mean) >= limit
        fewest, most = np.where(reached, fewest, middle), np.where(reached, middle, most)
    return most


def _first(answers: NDArray[np.bool_], looks: int) -> NDArray[np.int64]:
    return np.where(answers.any(1), answers.argmax(1), looks)
