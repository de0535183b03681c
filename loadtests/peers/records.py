"""What was measured, a JSON line each, appended as it comes: runs of one peer or another day add up in one file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from loadtests.report import LATE_CLIENT_MS

OBJECTIVE_MS = 200.0
LEAST_SHARE_OK = 0.99

Purpose = Literal["search", "equal"]


@dataclass(frozen=True, slots=True)
class Step:
    """One rate at one server for a few seconds."""

    server: str
    load: str
    round: int
    purpose: Purpose
    """search: how much it can do; equal: how long callers wait at a rate that is the same for all."""
    rate_per_s: float
    sent: int
    ok: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    """Of correct answers, from the moment each request was due; None where there was none."""
    client_lag_p99_ms: float | None
    images_a_call: float | None
    padding_ratio: float | None
    by_outcome: dict[str, int] = field(default_factory=dict)
    processors_ms: float | None = None
    """Processor time of all the server's processes, for each correct answer."""

    @property
    def client_was_late(self) -> bool:
        return self.client_lag_p99_ms is not None and self.client_lag_p99_ms > LATE_CLIENT_MS

    @property
    def holds(self) -> bool:
        """Nearly everybody answered, and p95 within the objective."""
        is_answered = self.sent > 0 and self.ok >= LEAST_SHARE_OK * self.sent
        return is_answered and self.p95_ms is not None and self.p95_ms <= OBJECTIVE_MS


@dataclass(frozen=True, slots=True)
class Failed:
    """A server that could not be measured, in its own words."""

    server: str
    load: str
    error: str


@dataclass(frozen=True, slots=True)
class Versions:
    """What was installed."""

    server: str
    versions: dict[str, str]


Record = Step | Failed | Versions
KINDS: dict[str, type[Step] | type[Failed] | type[Versions]] = {
    kind.__name__.lower(): kind for kind in (Step, Failed, Versions)
}


def append(path: Path, records: Iterable[Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for record in records:
            file.write(json.dumps({"kind": type(record).__name__.lower()} | asdict(record)) + "\n")


def read(path: Path) -> list[Record]:
    """Nothing where there is no file yet."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [KINDS[line.pop("kind")](**line) for line in lines]


def steps(records: Sequence[Record], purpose: Purpose) -> list[Step]:
    return [record for record in records if isinstance(record, Step) and record.purpose == purpose]
