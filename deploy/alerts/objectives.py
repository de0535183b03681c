"""What is promised to callers, read from a file of objectives."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).with_name("objectives.toml")

OURS = ("overloaded", "not_ready", "deadline_exceeded", "engine_failed", "bundle_invalid", "internal")
"""Outcomes that spend the budget. Errors of the caller are neither good nor bad: they are left out of both sides."""

AGREED = ("rate_limited", "quota_exceeded")
"""Refusals of callers who asked for more than was agreed with them: for later, but nobody's failure."""

BUCKET_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
"""Of rcnn_request_duration_seconds."""


class InvalidObjectives(Exception):
    """The file promises what cannot be measured; the message says what and what would do."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """availability is a share in (0, 1); latencies are seconds, each a bucket edge."""

    availability: float
    p95_s: float
    p50_s: float
    p95_by_model_s: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.availability < 1:
            raise InvalidObjectives(
                f"availability must lie between 0 and 1, for instance 0.999; it is {self.availability}"
            )
        for name, seconds in {"p95_s": self.p95_s, "p50_s": self.p50_s, **self.p95_by_model_s}.items():
            if seconds not in BUCKET_EDGES_S:
                edges = ", ".join(f"{edge:g}" for edge in BUCKET_EDGES_S)
                raise InvalidObjectives(f"latency {name} = {seconds:g} is no bucket edge; choose one of {edges}")


def read_objectives(path: Path) -> Objectives:
    """Raises InvalidObjectives, OSError, or tomllib.TOMLDecodeError."""
    document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    latency = dict(document.pop("latency", {}))
    try:
        return Objectives(**document, **latency)
    except TypeError as error:
        raise InvalidObjectives(f"{path}: {str(error).removeprefix('Objectives.__init__() ')}") from error
