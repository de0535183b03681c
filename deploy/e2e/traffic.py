"""Callers that never stop: open-loop load in a process of its own, until it is told to end."""

import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import uvloop

from loadtests.driver import Order, RunningClock, Target, drive_open
from loadtests.pictures import Picture
from loadtests.samples import Sample

_SPAWNED = multiprocessing.get_context("spawn")
_END_S = 60.0


@dataclass(frozen=True)
class Asked:
    """One request: due and done in seconds since the epoch, and what came back. release: who answered."""

    due: float
    done: float
    outcome: str
    release: str | None
    digest: str | None
    picture: str

    @property
    def is_ok(self) -> bool:
        return self.outcome == "200"

    @property
    def latency_s(self) -> float:
        return self.done - self.due


@dataclass(frozen=True)
class _Told:
    """What callers are told while they ask: requests a second, how many of the pictures to send, and when to end."""

    per_s: "Synchronized[float]"
    shown: "Synchronized[int]"
    end: Event


class Traffic:
    """
    Poisson arrivals at a rate that can be changed. Use as a context manager; `asked` is there afterwards.

    pictures: sent in turn. large: more of them, which can be held back for a while.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        pictures: Sequence[Picture],
        per_s: float,
        file: Path,
        large: Sequence[Picture] = (),
    ) -> None:
        self.name, self.asked, self._file = name, list[Asked](), file
        self._small, self._all = len(pictures), len(pictures) + len(large)
        self._told = _Told(_SPAWNED.Value("d", per_s), _SPAWNED.Value("i", self._all), _SPAWNED.Event())
        arguments = (target, [*pictures, *large], self._told, file)
        self._process = _SPAWNED.Process(target=_drive, args=arguments, daemon=True)

    def __enter__(self) -> "Traffic":
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._told.end.set()
        self._process.join(_END_S)
        self._process.kill()
        if self._file.exists():
            self.asked = [Asked(**json.loads(line)) for line in self._file.read_text().splitlines()]

    def change_rate(self, per_s: float) -> None:
        self._told.per_s.value = per_s

    def hold_back_large(self) -> None:
        self._told.shown.value = self._small

    def send_large(self) -> None:
        self._told.shown.value = self._all

    def check(self) -> None:
        """Raises RuntimeError if nobody sends any more."""
        if not self._process.is_alive():
            raise RuntimeError(f"the load on {self.name} has ended by itself, with {self._process.exitcode}")


def _drive(target: Target, pictures: Sequence[Picture], told: _Told, file: Path) -> None:
    clock, began = RunningClock(), time.time()
    samples = uvloop.run(drive_open(_orders(target, pictures, told), clock=clock))
    rows = (json.dumps(asdict(_asked(sample, began))) for sample in samples)
    file.write_text("".join(f"{row}\n" for row in rows))


def _orders(target: Target, pictures: Sequence[Picture], told: _Told) -> Iterator[Order]:
    chance, due_s, number = np.random.default_rng(0), 0.5, 0
    story = multiprocessing.parent_process()
    while not told.end.is_set() and story is not None and story.is_alive():  # who was killed leaves no callers
        yield Order(pictures[number % told.shown.value], target, due_s)
        number += 1
        due_s += float(chance.exponential(1 / told.per_s.value))


def _asked(sample: Sample, began: float) -> Asked:
    reply = sample.reply
    moments = began + sample.due_s, began + sample.done_s
    return Asked(*moments, sample.outcome, reply.release, reply.detections_digest, sample.picture)
