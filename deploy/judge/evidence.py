"""
Evidence that stays valid however often one looks: bets on the mean of bounded observations.

Whoever believes that the mean of X in [0, 1] is at most m offers the fair bet (1 + s X) / (1 + s m) for a stake s > 0:
its expectation is at most 1 while that is true. A gambler's wealth over many observations is then a nonnegative
supermartingale, and it ever reaches 1/alpha with probability at most alpha (Ville 1939). Stakes are not tuned: the
wealth is the average over a grid of them (Robbins 1970; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random
variables by betting", section 4). Where X is 0 or 1 this is the mixture likelihood ratio over odds ratios 1 + s: for
discordant pairs at m = 1/2 a sequential McNemar test, for errors split between two arms at m = share the conditional
binomial test of counts (Lindon & Malek 2022).

Only totals enter, so wealth can be had at any time from counters, and observations may be added in any order.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

STAKES: Floats = np.geomspace(0.02, 500.0, 48)  # from a thousandth more to hundreds of times as often
_LOG_WEIGHT = -np.log(len(STAKES))


def log_wealth_above(counts: ArrayLike, values: ArrayLike, mean: float) -> Floats:
    """
    Log wealth (..., stakes) against "the mean is at most `mean`", for counts (..., B) of observations of values (B,).

    values in [0, 1], mean in (0, 1). Wealths of strata, each with its own mean, are multiplied: add the logs.
    """
    if not 0 < mean < 1:
        raise ValueError(f"mean: expected a number between 0 and 1, got {mean}")
    counted, x = np.asarray(counts, np.float64), np.asarray(values, np.float64)
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError("values: expected numbers from 0 to 1")
    gains = np.log1p(np.outer(x, STAKES))  # (B, stakes)
    return np.asarray(counted @ gains - counted.sum(-1, keepdims=True) * np.log1p(STAKES * mean))


def log_wealth_below(counts: ArrayLike, values: ArrayLike, mean: float) -> Floats:
    """The same against "the mean is at least `mean`"."""
    return log_wealth_above(counts, 1 - np.asarray(values, np.float64), 1 - mean)


def log_wealth_of_share(own: ArrayLike, both: ArrayLike, share: ArrayLike) -> Floats:
    """
    Log wealth (..., stakes) against "of `both` events in a stratum at most `share` are expected to be its `own`".

    own, both and share (...), share in (0, 1): one stratum each, to be added up over strata; later ones may be split
    otherwise. For own and other trials of a stratum n and m, equal odds of the event in all of them make share
    n / (n + m); odds at most r >= 1 times as high make it at most r n / (r n + m), whatever the odds themselves. Given
    `both`, own is then a sum of independent events (Vatutin & Mikhailov 1982), so binomial counts vary no less
    (Hoeffding 1956), and the bets are worth at most 1.
    """
    mine, all_of_them, fair = (np.asarray(each, np.float64)[..., None] for each in (own, both, share))
    return np.asarray(mine * np.log1p(STAKES) - all_of_them * np.log1p(STAKES * fair))


def log_e(log_wealth: Floats) -> Floats:
    """The log e-value (...): the log of the average wealth over the stakes (..., stakes)."""
    top = log_wealth.max(-1)
    return np.asarray(top + np.log(np.exp(log_wealth - top[..., None]).sum(-1)) + _LOG_WEIGHT)


def log_e_above(counts: ArrayLike, values: ArrayLike, mean: float) -> Floats:
    return log_e(log_wealth_above(counts, values, mean))


def log_e_below(counts: ArrayLike, values: ArrayLike, mean: float) -> Floats:
    return log_e(log_wealth_below(counts, values, mean))


def log_e_split(stable: ArrayLike, candidate: ArrayLike, share: float) -> Floats:
    """
    Log e-value against "each request went to the candidate with probability share", two-sided.

    The sequential sample-ratio test (Lindon & Malek 2022): a split that is not the one stated means that something
    between the two arms differs besides the release.
    """
    counts = np.stack([np.asarray(stable, np.float64), np.asarray(candidate, np.float64)], -1)
    both = np.stack([log_e_above(counts, (0, 1), share), log_e_below(counts, (0, 1), share)], -1)
    return np.asarray(np.logaddexp(both[..., 0], both[..., 1]) - np.log(2))


def threshold(alpha: float) -> float:
    """The log e-value at which a claim is given up that is wrongly given up with probability at most alpha, ever."""
    return -float(np.log(alpha))
