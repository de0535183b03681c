"""Records -> what each server made of each load: medians over the rounds, and their spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.peers.records import Failed, Record, Step, steps


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one figure over the rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One server under one load."""

    goodput_per_s: Spread | None
    """The highest rate held; None where it was not measured."""
    equal_rate_per_s: float | None
    equal_p99_ms: Spread | None
    """At that rate; None where nothing was answered, or it was not measured."""
    equal_share_ok: float | None
    equal_processors_ms: Spread | None
    """Processor time an answer, at that rate."""
    images_a_call: float | None
    padding_ratio: float | None
    """Of the engine, at the highest rate held."""
    error: str | None


def cell(records: Sequence[Record], server: str, load: str) -> Cell:
    """Equal rates are compared among equals only: the one measured last counts."""
    searched = _of(steps(records, "search"), server, load)
    alike = _of_last_rate(steps(records, "equal"), load)
    equal = _of(alike, server, load)
    best = [_best(round_steps) for round_steps in _by_round(searched)]
    held = [step for step in best if step is not None]
    errors = [r.error for r in records if isinstance(r, Failed) and (r.server, r.load) == (server, load)]
    sent = sum(step.sent for step in equal)
    return Cell(
        goodput_per_s=_spread([0.0 if step is None else step.rate_per_s for step in best]),
        equal_rate_per_s=alike[0].rate_per_s if alike else None,
        equal_p99_ms=_spread([step.p99_ms for step in equal if step.p99_ms is not None]),
        equal_processors_ms=_spread([step.processors_ms for step in equal if step.processors_ms is not None]),
        equal_share_ok=sum(step.ok for step in equal) / sent if sent else None,
        images_a_call=_median([step.images_a_call for step in held]),
        padding_ratio=_median([step.padding_ratio for step in held]),
        error=errors[-1] if errors and not searched else None,
    )


def goodputs_per_s(records: Sequence[Record], load: str) -> dict[str, float]:
    """The median of each server that has been measured under the load."""
    servers = {step.server for step in steps(records, "search") if step.load == load}
    spreads = {server: cell(records, server, load).goodput_per_s for server in servers}
    return {server: spread.median for server, spread in spreads.items() if spread is not None}


def _of(found: Sequence[Step], server: str, load: str) -> list[Step]:
    return [step for step in found if (step.server, step.load) == (server, load)]


def _of_last_rate(found: Sequence[Step], load: str) -> list[Step]:
    of_load = [step for step in found if step.load == load]
    return [step for step in of_load if step.rate_per_s == of_load[-1].rate_per_s]


def _by_round(found: Sequence[Step]) -> list[list[Step]]:
    return [[step for step in found if step.round == number] for number in sorted({step.round for step in found})]


def _best(round_steps: Sequence[Step]) -> Step | None:
    """The highest rate that held. A rate that held only above one that did not was luck, yet it held."""
    return max((step for step in round_steps if step.holds), key=lambda step: step.rate_per_s, default=None)


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
