"""What happened when: samples of the cluster once a second, and what the story did, in seconds since the epoch."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

PERIOD_S = 1.0


@dataclass(frozen=True)
class Sample:
    """pods: {release: how many are ready}. verdict: the judge's on the candidate, "" while nobody is one."""

    at: float
    weight: int
    phase: str
    pods: dict[str, int]
    verdict: str = ""
    replicas: int = 0
    signal_milli: int | None = None


@dataclass
class Act:
    """One thing that the story does. facts: what it found, such as seconds."""

    name: str
    began: float
    ended: float = 0.0
    passed: bool = False
    facts: dict[str, object] = field(default_factory=dict)


class Timeline:
    """look is called every second on a thread of its own, from entering until leaving; a failing look leaves a gap."""

    def __init__(self, look: Callable[[], Sample]) -> None:
        self.samples: list[Sample] = []
        self.acts: list[Act] = []
        self._look, self._end = look, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Timeline":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    @contextmanager
    def act(self, name: str) -> Iterator[Act]:
        """Passed if nothing is raised inside."""
        act = Act(name, time.time())
        self.acts.append(act)
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        try:
            yield act
            act.passed = True
        finally:
            act.ended = time.time()
            facts = ", ".join(f"{key} {value}" for key, value in act.facts.items())
            print(
                f"         {'done' if act.passed else 'FAILED'} after {act.ended - act.began:.0f} s: {facts}",
                flush=True,
            )

    def between(self, begin: float, end: float) -> list[Sample]:
        return [sample for sample in self.samples if begin <= sample.at <= end]

    def write(self, file: Path, **more: object) -> None:
        told = {"acts": [asdict(act) for act in self.acts], "samples": [asdict(one) for one in self.samples], **more}
        file.write_text(json.dumps(told, indent=1))

    def _watch(self) -> None:
        while not self._end.wait(PERIOD_S):
            with suppress(httpx.HTTPError):
                self.samples.append(self._look())
