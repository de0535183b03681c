"""Samples -> the figures of a run, as a value and as JSON."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.histogram import Percentiles, encoded, percentiles
from loadtests.samples import Sample
from loadtests.scrape import ServerSide

SLOWEST_SHOWN = 5
LATE_CLIENT_MS = 50.0
"""Above this p99 of its own lateness, the client did not offer the load it claims."""


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """One of the slowest answers, with what is needed to find it in the logs and traces."""

    picture: str
    outcome: str
    due_s: float
    latency_ms: float
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """The callers of one kind: a step of a ramp, those with masks, the slow ones."""

    sent: int
    ok: int
    by_outcome: Mapping[str, int]
    first_due_s: float
    last_due_s: float
    latency_ms: Percentiles | None
    refusal_latency_ms: Percentiles | None


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
    latency_hdr: str | None
    """The same as an HdrHistogram (V2, base64) in microseconds, to be merged with those of other runs."""
    refusal_latency_ms: Percentiles | None
    """Of 429 and 503 answers: how quickly a no is said."""
    client_lag_ms: Percentiles | None
    stages_ms: Mapping[str, Percentiles]
    """The service's own account (timings_ms in its answers), of correct answers."""
    retry_after_s: Percentiles | None
    """What refused callers were told to wait."""
    overloads_without_retry_after: int
    """429 answers that broke their promise to say when to come back."""
    kinds: Mapping[str, Group]
    """By kind of caller, in the order in which they first appear; empty where there is only one."""
    server: ServerSide | None
    """What the service's metrics say of the same time; None where they could not be read."""
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
    server: ServerSide | None = None,
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
        by_outcome=_by_outcome(samples),
        elapsed_s=elapsed_s,
        offered_per_s=_per_second(len(samples), planned_s or elapsed_s),
        goodput_per_s=_per_second(len(good), elapsed_s),
        latency_ms=percentiles([sample.latency_ms for sample in ok]),
        latency_hdr=encoded([sample.latency_ms for sample in ok]) if ok else None,
        refusal_latency_ms=percentiles([sample.latency_ms for sample in refused]),
        client_lag_ms=percentiles([sample.lag_ms for sample in samples]),
        stages_ms=_stages_ms(ok),
        retry_after_s=percentiles([s.reply.retry_after_s for s in refused if s.reply.retry_after_s is not None]),
        overloads_without_retry_after=sum(s.reply.status == 429 and s.reply.retry_after_s is None for s in samples),
        kinds=groups(samples),
        server=server,
        slowest=_slowest(samples),
    )


def groups(samples: Sequence[Sample]) -> dict[str, Group]:
    """The samples by kind, in the order in which kinds first fall due; nothing where all are of one kind."""
    by_kind: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.due_s):
        by_kind.setdefault(sample.kind, []).append(sample)
    return {kind: _group(members) for kind, members in by_kind.items()} if len(by_kind) > 1 else {}


def _group(samples: Sequence[Sample]) -> Group:
    return Group(
        sent=len(samples),
        ok=sum(sample.is_ok for sample in samples),
        by_outcome=_by_outcome(samples),
        first_due_s=samples[0].due_s,
        last_due_s=samples[-1].due_s,
        latency_ms=percentiles([sample.latency_ms for sample in samples if sample.is_ok]),
        refusal_latency_ms=percentiles([sample.latency_ms for sample in samples if sample.is_refusal]),
    )


def write_json(summary: Summary, findings: Mapping[str, float | None], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(summary, findings) + "\n", encoding="utf-8")


def to_json(summary: Summary, findings: Mapping[str, float | None]) -> str:
    figures = asdict(summary) | {"passed": summary.passed, "findings": dict(findings)}
    return json.dumps(figures, indent=2, default=str)


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


def _by_outcome(samples: Sequence[Sample]) -> dict[str, int]:
    return dict(sorted(Counter(sample.outcome for sample in samples).items()))


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
