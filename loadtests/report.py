"""Samples -> the figures of a run, as a value, as JSON and as a table a person reads."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from loadtests.samples import Sample
from loadtests.scrape import Batching

SLOWEST_SHOWN = 5
LATE_CLIENT_MS = 50.0
"""Above this p99 of its own lateness, the client did not offer the load it claims."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The spread of some values, in the unit of those values; the field that holds it names the unit."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """One of the slowest answers, with what is needed to find it in the logs and traces."""

    picture: str
    outcome: str
    due_s: float
    latency_ms: float
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything a run says. Durations carry their unit in the name; rates are per second of the run."""

    scenario: str
    settings: Mapping[str, object]
    sent: int
    ok: int
    errors: int
    by_outcome: Mapping[str, int]
    elapsed_s: float
    offered_per_s: float
    goodput_per_s: float
    """Correct answers per second, counting only those within the latency objective where one is given."""
    latency_ms: Percentiles | None
    """Of correct answers, from the moment each request was due."""
    refusal_latency_ms: Percentiles | None
    """Of 429 and 503 answers: how quickly a no is said."""
    client_lag_ms: Percentiles | None
    stages_ms: Mapping[str, Percentiles]
    """The service's own account (timings_ms in its answers), of correct answers."""
    retry_after_s: Percentiles | None
    """What refused callers were told to wait."""
    overloads_without_retry_after: int
    """429 answers that broke their promise to say when to come back."""
    batching: Batching | None
    slowest: Sequence[SlowRequest]

    @property
    def passed(self) -> bool:
        return self.sent > 0 and self.errors == 0


def summarise(
    scenario: str,
    settings: Mapping[str, object],
    samples: Sequence[Sample],
    *,
    planned_s: float = 0.0,
    objective_ms: float | None = None,
    tolerated: Collection[str] = (),
    batching: Batching | None = None,
) -> Summary:
    """
    planned_s is the length of the schedule, so that a run whose last arrival is early is not flattered.
    tolerated outcomes (such as "429" under deliberate overload) are counted, but are not errors.
    """
    ok = [sample for sample in samples if sample.is_ok]
    refused = [sample for sample in samples if sample.is_refusal]
    good = [sample for sample in ok if objective_ms is None or sample.latency_ms <= objective_ms]
    elapsed_s = max([planned_s, *(sample.done_s for sample in samples)])
    return Summary(
        scenario=scenario,
        settings=settings,
        sent=len(samples),
        ok=len(ok),
        errors=sum(not sample.is_ok and sample.outcome not in tolerated for sample in samples),
        by_outcome=dict(sorted(Counter(sample.outcome for sample in samples).items())),
        elapsed_s=elapsed_s,
        offered_per_s=_per_second(len(samples), planned_s or elapsed_s),
        goodput_per_s=_per_second(len(good), elapsed_s),
        latency_ms=percentiles([sample.latency_ms for sample in ok]),
        refusal_latency_ms=percentiles([sample.latency_ms for sample in refused]),
        client_lag_ms=percentiles([sample.lag_ms for sample in samples]),
        stages_ms=_stages_ms(ok),
        retry_after_s=percentiles([s.reply.retry_after_s for s in refused if s.reply.retry_after_s is not None]),
        overloads_without_retry_after=sum(s.reply.status == 429 and s.reply.retry_after_s is None for s in samples),
        batching=batching,
        slowest=_slowest(samples),
    )


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """None of nothing: an empty run has no latency, not a latency of zero."""
    if not values:
        return None
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return Percentiles(len(values), p50, p95, p99, max(values))


def write_json(summary: Summary, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(summary) + "\n", encoding="utf-8")


def to_json(summary: Summary) -> str:
    return json.dumps(asdict(summary) | {"passed": summary.passed}, indent=2, default=str)


def to_table(summary: Summary) -> RenderableType:
    """What a person looks at first, then where the time went, then what to distrust."""
    return Group(_overview(summary), *_stage_tables(summary), *(f"note: {note}" for note in notes(summary)))


def notes(summary: Summary) -> list[str]:
    """Sentences about what is odd in a run; none for a clean one."""
    found: list[str] = []
    if summary.client_lag_ms is not None and summary.client_lag_ms.p99 > LATE_CLIENT_MS:
        found.append(
            f"this client was {summary.client_lag_ms.p99:.0f} ms late with its schedule (p99); latencies count that,"
            " so lower --rate or give the client a free core before blaming the server"
        )
    if summary.overloads_without_retry_after:
        found.append(f"{summary.overloads_without_retry_after} answers with 429 had no Retry-After in seconds")
    return found


def _per_second(count: int, duration_s: float) -> float:
    return count / duration_s if duration_s > 0 else 0.0


def _stages_ms(ok: Sequence[Sample]) -> dict[str, Percentiles]:
    spent_ms: dict[str, list[float]] = {}
    for sample in ok:
        for stage, stage_ms in sample.reply.timings_ms.items():
            spent_ms.setdefault(stage, []).append(stage_ms)
    return {stage: spread for stage, values in spent_ms.items() if (spread := percentiles(values)) is not None}


def _slowest(samples: Sequence[Sample]) -> list[SlowRequest]:
    ranked = sorted(samples, key=lambda sample: sample.latency_ms, reverse=True)[:SLOWEST_SHOWN]
    return [SlowRequest(s.picture, s.outcome, s.due_s, s.latency_ms, s.reply.request_id) for s in ranked]


def _overview(summary: Summary) -> Table:
    table = Table(title=f"{summary.scenario}: {'passed' if summary.passed else 'FAILED'}", show_header=False)
    table.add_row("sent", f"{summary.sent} in {summary.elapsed_s:.1f} s ({summary.offered_per_s:.1f}/s offered)")
    table.add_row("ok", f"{summary.ok} of {summary.sent}")
    table.add_row("by status", ", ".join(f"{outcome}: {count}" for outcome, count in summary.by_outcome.items()) or "-")
    table.add_row("goodput", f"{summary.goodput_per_s:.2f} /s")
    table.add_row("latency p50 / p95 / p99", _spread(summary.latency_ms, "ms"))
    if summary.refusal_latency_ms is not None:
        table.add_row("refusal p50 / p95 / p99", _spread(summary.refusal_latency_ms, "ms"))
        table.add_row("Retry-After p50 / p95 / p99", _spread(summary.retry_after_s, "s"))
    if summary.batching is not None:
        table.add_row("mean batch", _batching(summary.batching))
    return table


def _batching(batching: Batching) -> str:
    if batching.mean_batch_size is None:
        return "no batch counted"
    padding = "" if batching.mean_padding_ratio is None else f", padding {batching.mean_padding_ratio:.1%}"
    return f"{batching.mean_batch_size:.2f} images over {batching.batches} batches{padding}"


def _stage_tables(summary: Summary) -> list[Table]:
    if not summary.stages_ms:
        return []
    table = Table(title="stages (ms)")
    for heading in ("stage", "p50", "p95", "p99"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage, spread in summary.stages_ms.items():
        table.add_row(stage, f"{spread.p50:.1f}", f"{spread.p95:.1f}", f"{spread.p99:.1f}")
    return [table]


def _spread(spread: Percentiles | None, unit: str) -> str:
    return "-" if spread is None else f"{spread.p50:.1f} / {spread.p95:.1f} / {spread.p99:.1f} {unit}"
