"""
Pods that load a model, take their turn at the traffic, run batches and go: queues in simulated time.

Each pod runs whatever waits, up to a full batch, whenever its engine is free. Requests go to the ready pods in turn, as
a proxy deals them out. What has waited longer than a caller's patience is dropped.
"""

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploy.simulate.events import Engine


@dataclass(frozen=True)
class Machine:
    """What a pod is made of. cpu_request: CPUs requested, of which the engine uses engine_cpus while it is busy."""

    engine: Engine
    max_batch: int
    load_s: float  # from being wanted to being ready: scheduling, start, model, warm-up
    patience_s: float
    cpu_request: float
    engine_cpus: float
    prepare_cpu_s: float  # of an image, beside the engine: decoding, answer

    @property
    def capacity_per_s(self) -> float:
        """Images a second in full batches."""
        return self.engine.capacity_hz(self.max_batch)

    def work_s(self, images: int) -> float:
        """Engine seconds that so many waiting images are."""
        whole, rest = divmod(images, self.max_batch)
        return whole * self.engine.seconds(self.max_batch) + (self.engine.seconds(rest) if rest else 0.0)


@dataclass
class Pod:
    """One replica. samples: what it exported at the last scrapes, newest last."""

    machine: Machine
    created: float
    ready_at: float
    free_at: float = 0.0
    running: int = 0
    waiting: deque[float] = field(default_factory=deque)  # moments of arrival
    busy_s: float = 0.0
    images: int = 0
    samples: deque["Sample"] = field(default_factory=lambda: deque(maxlen=4))

    def run(self, until: float, answers: "Answers") -> None:
        """Start every batch that starts before until."""
        machine, waiting = self.machine, self.waiting
        while waiting:
            start = max(self.free_at, waiting[0], self.ready_at)
            if start >= until:
                return
            batch = self._next_batch(start, answers)
            if not batch:
                continue
            seconds = machine.engine.seconds(len(batch))
            self.free_at, self.running = start + seconds, len(batch)
            self.busy_s += seconds
            self.images += len(batch)
            for arrived in batch:
                answers.answered(arrived, self.free_at - arrived)

    def _next_batch(self, start: float, answers: "Answers") -> list[float]:
        batch: list[float] = []
        while self.waiting and len(batch) < self.machine.max_batch and self.waiting[0] <= start:
            arrived = self.waiting.popleft()
            if start - arrived > self.machine.patience_s:
                answers.dropped(arrived)
            else:
                batch.append(arrived)
        return batch

    def scrape(self, now: float) -> None:
        """Export what the service does: the seconds of work and the images inside right now, and counters."""
        left_s = max(self.free_at - now, 0.0)
        queued_s = left_s + self.machine.work_s(len(self.waiting))
        inside = len(self.waiting) + (self.running if left_s else 0)
        self.samples.append(Sample(now, queued_s, inside, self.busy_s - left_s, self.images))


@dataclass(frozen=True)
class Sample:
    """busy_s and images are counters, since the pod was made."""

    at: float
    queued_work_s: float
    in_flight: int
    busy_s: float
    images: int


@dataclass
class Answers:
    """What became of the requests: arrivals and latencies (s) of those answered, arrivals of those dropped."""

    arrivals: "array[float]" = field(default_factory=lambda: array("d"))
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    lost: "array[float]" = field(default_factory=lambda: array("d"))

    def answered(self, arrived: float, latency_s: float) -> None:
        self.arrivals.append(arrived)
        self.latencies_s.append(latency_s)

    def dropped(self, arrived: float) -> None:
        self.lost.append(arrived)


class Fleet:
    """The pods of one Deployment, and the hours they have cost."""

    def __init__(self, machine: Machine, pods: int) -> None:
        self.machine, self.answers, self.pod_s = machine, Answers(), 0.0
        self.pods = [Pod(machine, 0.0, 0.0) for _ in range(pods)]
        self._leaving: list[Pod] = []
        self._turn = 0

    def scale(self, pods: int, now: float) -> None:
        """New pods load first; those that go take no more requests and finish theirs. The youngest go first."""
        for _ in range(pods - len(self.pods)):
            self.pods.append(Pod(self.machine, now, now + self.machine.load_s))
        gone = self.pods[pods:]
        self.pods = self.pods[:pods]
        self._leaving += gone

    def ready(self, now: float) -> list[Pod]:
        return [pod for pod in self.pods if pod.ready_at <= now]

    def run(self, arrivals: Sequence[float], start: float, until: float) -> None:
        """A stretch of time in which nobody becomes ready or leaves. arrivals: those within it, ascending."""
        ready = self.ready(start) or self.pods[:1]
        for number, arrived in enumerate(arrivals, self._turn):
            ready[number % len(ready)].waiting.append(arrived)
        self._turn += len(arrivals)
        for pod in (*self.pods, *self._leaving):
            pod.run(until, self.answers)
        self._leaving = [pod for pod in self._leaving if pod.waiting or pod.free_at > until]
        self.pod_s += (until - start) * (len(self.pods) + len(self._leaving))
