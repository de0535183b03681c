"""When requests are due: a schedule fixed before the run, so that a slow server cannot slow the traffic down."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of traffic at one rate."""

    name: str
    rate_per_s: float
    duration_s: float


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


def stepped_arrivals_s(steps: Sequence[Step], seed: int) -> list[tuple[float, str]]:
    """(moment, name of its step), one step after the other; within a step arrivals are Poisson."""
    arrivals: list[tuple[float, str]] = []
    begin_s = 0.0
    for number, step in enumerate(steps):
        due_s = poisson_arrivals_s(step.rate_per_s, step.duration_s, seed + number)
        arrivals.extend((begin_s + moment_s, step.name) for moment_s in due_s)
        begin_s += step.duration_s
    return arrivals
