"""When requests are due: a schedule fixed before the run, so that a slow server cannot slow the traffic down."""

import numpy as np


def poisson_arrivals_s(rate_per_s: float, duration_s: float, seed: int) -> list[float]:
    """
    The moments at which requests are due, in seconds since the run began: ascending, all in [0, duration_s).

    Gaps are exponential with mean 1 / rate_per_s, which is how independent callers arrive. The same seed gives the
    same schedule; a longer duration continues a shorter one.
    """
    if rate_per_s <= 0:
        raise ValueError(f"rate must be above 0 requests per second, but is {rate_per_s}")
    if duration_s <= 0:
        raise ValueError(f"duration must be above 0 seconds, but is {duration_s}")
    random = np.random.default_rng(seed)
    arrivals_s: list[float] = []
    due_s = float(random.exponential(1.0 / rate_per_s))
    while due_s < duration_s:
        arrivals_s.append(due_s)
        due_s += float(random.exponential(1.0 / rate_per_s))
    return arrivals_s
