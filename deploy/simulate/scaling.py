"""An autoscaler over a fleet of pods under traffic: what callers see, and what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.simulate.demand import Demand, arrivals_s
from deploy.simulate.fleet import Fleet, Machine, Pod, Sample
from deploy.simulate.hpa import Controller, Reading, Spec

STEP_S = 5.0
SYNC_S = SCRAPE_S = 15.0
"""The controller's default sync period, and the chart's default scrape interval."""


@dataclass(frozen=True)
class Signal:
    """A metric of a pod, from its last scrapes, and what it should be. averaged: over up to four scrapes (a minute)."""

    name: str
    of: Callable[[Machine, Sequence[Sample]], float]
    target: float
    averaged: bool = False
    needs_two: bool = False  # a rate has no value before the second scrape
    missing: float | None = None

    def reading(self, pods: Sequence[Pod], now: float) -> Reading:
        """Of all pods: those still loading, and those not scraped yet, have no value."""
        values = [self._value(pod) for pod in pods if pod.ready_at <= now]
        seen = [value for value in values if value is not None]
        absent = len(pods) - len(seen)
        milli = None if self.missing is None else round(self.missing * 1000)
        return Reading([int(value * 1000) for value in seen], round(self.target * 1000), absent, 0, milli)

    def _value(self, pod: Pod) -> float | None:
        samples = list(pod.samples)
        if len(samples) < (2 if self.needs_two else 1):
            return None
        if self.averaged:
            return float(np.mean([self.of(pod.machine, [sample]) for sample in samples]))
        return self.of(pod.machine, samples)


def queued_work_s(machine: Machine, samples: Sequence[Sample]) -> float:
    return samples[-1].queued_work_s


def in_flight(machine: Machine, samples: Sequence[Sample]) -> float:
    return samples[-1].in_flight


def engine_busy(machine: Machine, samples: Sequence[Sample]) -> float:
    """Share of the time between two scrapes in which the engine ran: what a GPU's utilisation says."""
    before, after = samples[-2:]
    return (after.busy_s - before.busy_s) / (after.at - before.at)


def cpu(machine: Machine, samples: Sequence[Sample]) -> float:
    """CPU used between two scrapes, as a share of what was requested."""
    before, after = samples[-2:]
    used = (after.busy_s - before.busy_s) * machine.engine_cpus + (after.images - before.images) * machine.prepare_cpu_s
    return used / (after.at - before.at) / machine.cpu_request


@dataclass(frozen=True)
class Outcome:
    """
    p95_s: of all answers, infinite if more than 5 % got none. late: share of requests not answered in time.

    moments, offered_per_s, pods and ready (M,), one for each step; slow_s (M,): p95 of the requests of the step.
    """

    p95_s: float
    late: float
    pod_hours: float
    changes: int
    moments: NDArray[np.float64]
    offered_per_s: NDArray[np.float64]
    pods: NDArray[np.int64]
    ready: NDArray[np.int64]
    slow_s: NDArray[np.float64]


def simulate(demand: Demand, machine: Machine, signals: Sequence[Signal], spec: Spec, objective_s: float) -> Outcome:
    """Run the demand, in units of a pod's capacity; scraped, synced and scaled as a cluster does."""
    moments = np.arange(0, demand.seconds, STEP_S)
    arrivals = arrivals_s(demand, machine.capacity_per_s)
    edges = np.searchsorted(arrivals, np.append(moments, demand.seconds))
    fleet, controller = Fleet(machine, spec.least), Controller(spec)
    pods, ready = [], []
    for number, now in enumerate(moments.tolist()):
        if now % SCRAPE_S == 0:
            for pod in fleet.ready(now):
                pod.scrape(now)
        if now and now % SYNC_S == 0:
            readings = [signal.reading(fleet.pods, now) for signal in signals]
            fleet.scale(controller.decide(now, len(fleet.pods), readings), now)
        pods.append(len(fleet.pods))
        ready.append(len(fleet.ready(now)))
        fleet.run(arrivals[edges[number] : edges[number + 1]].tolist(), now, now + STEP_S)
    fleet.run([], demand.seconds, demand.seconds + machine.patience_s)
    return _outcome(fleet, moments, np.diff(edges) / STEP_S, pods, ready, objective_s)


def _outcome(
    fleet: Fleet,
    moments: NDArray[np.float64],
    offered_per_s: NDArray[np.float64],
    pods: Sequence[int],
    ready: Sequence[int],
    objective_s: float,
) -> Outcome:
    answers = fleet.answers
    arrived = np.concatenate([answers.arrivals, answers.lost])
    latencies_s = np.concatenate([answers.latencies_s, np.full(len(answers.lost), np.inf)])
    counts = np.asarray(pods, np.int64)
    return Outcome(
        p95_s=float(np.quantile(latencies_s, 0.95, method="higher")),
        late=float(np.mean(latencies_s > objective_s)),
        pod_hours=fleet.pod_s / 3600,
        changes=int(np.count_nonzero(np.diff(counts))),
        moments=moments,
        offered_per_s=offered_per_s,
        pods=counts,
        ready=np.asarray(ready, np.int64),
        slow_s=_p95_by_step(arrived, latencies_s, moments),
    )


def _p95_by_step(
    arrived: NDArray[np.float64], latencies_s: NDArray[np.float64], moments: NDArray[np.float64]
) -> NDArray[np.float64]:
    order = np.argsort(arrived, kind="stable")
    edges = np.searchsorted(arrived[order], np.append(moments, np.inf))
    parts = np.split(latencies_s[order], edges[1:-1])
    return np.array([np.quantile(part, 0.95, method="higher") if len(part) else np.nan for part in parts])
