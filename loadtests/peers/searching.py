"""The highest rate a server holds: doubling until it does not, then bisecting."""

import math
from collections.abc import Callable

LEAST_PER_S, MOST_PER_S = 0.5, 5_000.0


def highest_rate_per_s(holds: Callable[[float], bool], first_per_s: float, factor: float, resolution: float) -> float:
    """
    The highest rate found to hold; 0 where not even LEAST_PER_S does.

    first_per_s is tried first; from there each rate is factor times the last, up while it holds or down while it does
    not; between the last two the geometric mean is tried until they are no more than resolution times apart.
    """
    low_per_s, high_per_s = _bracket(holds, first_per_s, factor)
    while low_per_s > 0 and high_per_s < math.inf and high_per_s / low_per_s > resolution:
        middle_per_s = math.sqrt(low_per_s * high_per_s)
        if holds(middle_per_s):
            low_per_s = middle_per_s
        else:
            high_per_s = middle_per_s
    return low_per_s


def _bracket(holds: Callable[[float], bool], first_per_s: float, factor: float) -> tuple[float, float]:
    """A rate that holds and one that does not; 0 and infinity stand for what was not found."""
    rate_per_s = first_per_s
    if holds(rate_per_s):
        while rate_per_s * factor <= MOST_PER_S:
            if not holds(rate_per_s * factor):
                return rate_per_s, rate_per_s * factor
            rate_per_s *= factor
        return rate_per_s, math.inf
    while rate_per_s / factor >= LEAST_PER_S:
        if holds(rate_per_s / factor):
            return rate_per_s / factor, rate_per_s
        rate_per_s /= factor
    return 0.0, rate_per_s
