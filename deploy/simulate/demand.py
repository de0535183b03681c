"""Traffic for the autoscaler: rates over time, and arrivals drawn from them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_S = 21_600.0
"""A day's curve in six hours: four times as steep as the real one."""


@dataclass(frozen=True)
class Demand:
    """rate_of: images a second at a moment, in units of what one pod can answer; lasts seconds."""

    name: str
    seconds: float
    rate_of: Callable[[float], float]


def daily() -> Demand:
    """From 0.7 pods' worth at night to 7 in the afternoon."""
    return Demand("daily", DAY_S, lambda now: 3.85 - 3.15 * math.cos(2 * math.pi * (now / DAY_S - 4 / 24)))


def bursty() -> Demand:
    """Two hours at 1.5, every ten minutes 90 seconds at 5 or 7."""
    return Demand("bursty", 7200.0, lambda now: (5.0, 7.0)[int(now // 600) % 2] if now % 600 >= 510 else 1.5)


def steps() -> Demand:
    """Up at once from 1 to 4 and to 7, down again: fifteen minutes each."""
    return Demand("step", 4500.0, lambda now: (1.0, 4.0, 7.0, 4.0, 1.0)[min(int(now // 900), 4)])


def arrivals_s(demand: Demand, pod_per_s: float, seed: int = 0) -> NDArray[np.float64]:
    """
    Ascending moments (N,) of a Poisson process of that rate, by thinning (Lewis & Shedler 1979).

    pod_per_s: images a second that one unit of the demand is.
    """
    chance = np.random.default_rng(seed)
    rates = np.array([demand.rate_of(second) for second in np.arange(0, demand.seconds, 1.0)]) * pod_per_s
    most = rates.max()
    count = chance.poisson(most * demand.seconds)
    moments = np.sort(chance.uniform(0, demand.seconds, count))
    kept: NDArray[np.float64] = moments[chance.uniform(0, most, count) < rates[moments.astype(int)]]
    return kept
