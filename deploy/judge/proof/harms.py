"""What is watched for harm alone, over many simulated rollouts: much slower images, and errors of split traffic."""

import numpy as np
from numpy.typing import NDArray

from deploy.judge.evidence import Floats, log_e, log_e_above, log_wealth_of_share, threshold
from deploy.judge.guards import Harm
from deploy.judge.shadow_gate import Policy

_AT_ONCE = 250  # rollouts in memory together
WEIGHTS, WINDOWS_EACH, REQUESTS = (0.05, 0.25, 0.5), 80, 300  # two hours of windows of 30 s at ten requests a second
_WINDOW_MINUTES = 0.5


def tail_worse(
    chances: Floats, policy: Policy, shape: tuple[int, int], step: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """
    shape (rollouts, looks): whether that many images much slower, and not much quicker, speak against the candidate.

    chances (3,): of an image much slower, much quicker, and neither. step: images from one look to the next.
    """
    slower, quicker, _ = np.moveaxis(rng.multinomial(step, chances, shape).cumsum(1).astype(np.float64), -1, 0)
    harm = policy.slow_tail()
    fair = harm.times / (harm.times + 1)
    wealth = log_wealth_of_share(slower, slower + quicker, fair)
    return _reached(harm, policy, slower, np.broadcast_to(step * np.arange(1, shape[1] + 1), shape), wealth)


def tail_at_its_limits(policy: Policy) -> Floats:
    """(3,): as many much slower as are allowed, and just as many times as many as are much quicker."""
    slower = policy.tail
    return np.array([slower, slower / policy.tail_times, 1 - slower - slower / policy.tail_times])


def tail_ever_worse(policy: Policy, rollouts: int, horizon: int, step: int) -> NDArray[np.bool_]:
    """(rollouts,): with the tail at its limits, whether any look says worse."""
    rng, chances = np.random.default_rng(2), tail_at_its_limits(policy)
    parts = [min(_AT_ONCE, rollouts - start) for start in range(0, rollouts, _AT_ONCE)]
    return np.concatenate([tail_worse(chances, policy, (n, horizon // step), step, rng).any(1) for n in parts])


def arms_ever_worse(own: float, other: float, policy: Policy, rollouts: int) -> NDArray[np.bool_]:
    """
    (rollouts,): whether any window ends with the candidate held for worse, its requests failing at a rate `own`.

    Those of the other releases fail at `other`. The candidate gets each of WEIGHTS of the traffic in turn.
    """
    return np.isfinite(arms_minutes(own, other, policy, rollouts))


def arms_minutes(own: float, other: float, policy: Policy, rollouts: int) -> Floats:
    """(rollouts,): the minutes until then; infinite where no window does."""
    rng = np.random.default_rng(3)
    parts = [min(_AT_ONCE, rollouts - start) for start in range(0, rollouts, _AT_ONCE)]
    worse = np.concatenate([_arms_worse(own, other, policy, some, rng) for some in parts])
    return np.where(worse.any(1), (worse.argmax(1) + 1) * _WINDOW_MINUTES, np.inf)


def _arms_worse(own: float, other: float, policy: Policy, rollouts: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(rollouts, windows); requests fall to the candidate by lot, so that its share of a window is only about that."""
    shares = np.broadcast_to(np.repeat(WEIGHTS, WINDOWS_EACH), (rollouts, len(WEIGHTS) * WINDOWS_EACH))
    requests = rng.binomial(REQUESTS, shares)
    errors, other_errors = rng.binomial(requests, own), rng.binomial(REQUESTS - requests, other)
    harm = policy.split_errors()
    fair = harm.times * requests / (harm.times * requests + REQUESTS - requests)
    is_split = (requests > 0) & (requests < REQUESTS)
    errors, both = errors * is_split, (errors + other_errors) * is_split
    wealth = log_wealth_of_share(errors, both, np.where(is_split, fair, 0.5)).cumsum(1)
    return _reached(harm, policy, errors.cumsum(1), (requests * is_split).cumsum(1), wealth)


def _reached(
    harm: Harm, policy: Policy, events: NDArray[np.number], totals: NDArray[np.number], compared: Floats
) -> NDArray[np.bool_]:
    """As deploy.judge.guards.read_harm at each look: events and totals (rollouts, looks), compared (..., stakes)."""
    counts = np.stack([totals - events, events], -1)
    alone = log_e_above(counts, (0, 1), harm.guard.tolerated)
    return np.asarray(np.minimum(alone, log_e(compared)) >= threshold(policy.alpha_rollback * harm.guard.weight))
