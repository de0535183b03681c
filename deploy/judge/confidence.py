"""Intervals that hold at all times at once: of a rate, of a bounded mean, of a quantile read off histogram buckets."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from deploy.judge.evidence import Floats, log_e_above, log_e_below, threshold

_BISECTIONS = 50


def rate_interval(successes: int, total: int, alpha: float) -> tuple[float, float]:
    """
    The rates that a uniform-mixture (beta-binomial) likelihood ratio has not rejected after `total` trials.

    With probability 1 - alpha every interval of the sequence holds the true rate (Howard & Ramdas 2022, section 3.1).
    """
    if total == 0:
        return 0.0, 1.0
    failures = total - successes
    level = -math.log(alpha) - (math.lgamma(successes + 1) + math.lgamma(failures + 1) - math.lgamma(total + 2))

    def is_kept(rate: float) -> bool:
        return _times_log(successes, rate) + _times_log(failures, 1 - rate) + level > 0

    return _ends(is_kept, successes / total)


def mean_interval(counts: Floats, low_values: Floats, high_values: Floats, alpha: float) -> tuple[float, float]:
    """
    Where the mean of observations in [0, 1] lies, each known only to lie in a bucket: counts, low and high edges (B,).

    Each end at alpha / 2, at all times at once (Waudby-Smith & Ramdas 2024): the ends are the means not yet given up.
    """
    if not counts.sum():
        return 0.0, 1.0
    limit = threshold(alpha / 2)
    centre = float(counts @ (low_values + high_values) / 2 / counts.sum())
    low, _ = _ends(lambda mean: float(log_e_above(counts, low_values, mean)) < limit, centre)
    _, high = _ends(lambda mean: float(log_e_below(counts, high_values, mean)) < limit, centre)
    return low, high


def quantile_interval(
    counts: Sequence[int], upper_edges: Sequence[float], rank: float, alpha: float
) -> tuple[float, float]:
    """
    Where the quantile of rank (0 to 1) lies, from counts (B,) of observations up to upper_edges (B,), the last inf.

    An edge is below the quantile once "at least rank of all observations lie under it" is given up, and above it once
    "at most rank" is: one bet on each side, alpha / 2 each, at all times at once (Howard & Ramdas 2022, section 3, for
    a quantile fixed beforehand). As coarse as the buckets, and never narrower than the truth.
    """
    under = np.cumsum(np.asarray(counts, np.float64))
    total = under[-1]
    split = np.stack([total - under, under], -1)  # (B, 2): over the edge, under it
    limit = threshold(alpha / 2)
    is_below = log_e_below(split, (0, 1), rank) >= limit
    is_above = log_e_above(split, (0, 1), rank) >= limit
    low = max((edge for edge, below in zip(upper_edges, is_below, strict=True) if below), default=0.0)
    high = min((edge for edge, above in zip(upper_edges, is_above, strict=True) if above), default=math.inf)
    return low, high


def _ends(is_kept: Callable[[float], bool], centre: float) -> tuple[float, float]:
    """The two ends of the kept values around centre, by bisection of [0, centre] and [centre, 1]."""
    return _end(is_kept, centre, 0.0), _end(is_kept, centre, 1.0)


def _end(is_kept: Callable[[float], bool], inside: float, outside: float) -> float:
    edge = 1e-12 if outside == 0.0 else 1 - 1e-12
    if is_kept(edge):
        return outside
    kept, given_up = inside, edge
    for _ in range(_BISECTIONS):
        middle = (kept + given_up) / 2
        kept, given_up = (middle, given_up) if is_kept(middle) else (kept, middle)
    return given_up


def _times_log(count: int, rate: float) -> float:
    return count * math.log(rate) if count else 0.0
