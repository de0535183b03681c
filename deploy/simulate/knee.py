"""One pod at rising rates: where its knee is, and what each signal reads below it. Targets come from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.simulate.demand import Demand, arrivals_s
from deploy.simulate.fleet import Fleet, Machine
from deploy.simulate.scaling import SCRAPE_S, STEP_S, Signal

KNEE_SLOWDOWN = 3.0
"""The knee is the last rate at which p95 is below so many times that of an idle pod, as in the load test `ramp`."""
LOADS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SECONDS = 3600.0


@dataclass(frozen=True)
class Point:
    """signals: the mean of each over all scrapes."""

    rate_per_s: float
    p95_s: float
    signals: Mapping[str, float]


def curve(machine: Machine, signals: Sequence[Signal]) -> dict[float, Point]:
    """One pod at growing shares of its capacity."""
    return {load: measure(machine, load * machine.capacity_per_s, signals) for load in LOADS}


def knee_of(points: Sequence[Point]) -> Point:
    within = [point for point in points if point.p95_s < KNEE_SLOWDOWN * points[0].p95_s]
    return within[-1]


def measure(machine: Machine, rate_per_s: float, signals: Sequence[Signal]) -> Point:
    fleet = Fleet(machine, 1)
    (pod,) = fleet.pods
    moments = np.arange(0, SECONDS, STEP_S)
    arrivals = arrivals_s(Demand("steady", SECONDS, lambda now: 1.0), rate_per_s)
    edges = np.searchsorted(arrivals, np.append(moments, SECONDS))
    seen: dict[str, list[float]] = {signal.name: [] for signal in signals}
    for number, now in enumerate(moments.tolist()):
        if now % SCRAPE_S == 0:
            pod.scrape(now)
            for signal in signals:
                if len(pod.samples) > 1:
                    seen[signal.name].append(signal.of(machine, list(pod.samples)))
        fleet.run(arrivals[edges[number] : edges[number + 1]].tolist(), now, now + STEP_S)
    fleet.run([], SECONDS, SECONDS + machine.patience_s)
    p95_s = float(np.quantile(fleet.answers.latencies_s, 0.95)) if not fleet.answers.lost else float("inf")
    return Point(rate_per_s, p95_s, {name: float(np.mean(values)) for name, values in seen.items()})
