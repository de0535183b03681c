"""A run as rows: what the terminal and the HTML report show alike."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table as RichTable

from loadtests.histogram import Percentiles
from loadtests.report import Summary, notes


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; the first column names the row."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(summary: Summary, findings: Mapping[str, float | None]) -> list[Table]:
    """What a person looks at first, then each kind of caller, then where the time went."""
    found = [_overview(summary), _findings(findings), _kinds(summary), _stages(summary), _slowest(summary)]
    return [table for table in found if table.rows]


def to_terminal(summary: Summary, findings: Mapping[str, float | None]) -> RenderableType:
    """The tables but that of the slowest, and sentences on what to distrust."""
    return Group(
        *(to_rich(table) for table in tables(summary, findings)[:-1]), *(f"note: {note}" for note in notes(summary))
    )


def _overview(summary: Summary) -> Table:
    rows = [
        ("sent", f"{summary.sent} in {summary.elapsed_s:.1f} s ({summary.offered_per_s:.1f}/s offered)"),
        ("ok", f"{summary.ok} of {summary.sent}"),
        ("by status", outcomes(summary.by_outcome)),
        ("goodput", f"{summary.goodput_per_s:.2f} /s"),
        ("latency p50 / p95 / p99", spread(summary.latency_ms, "ms")),
    ]
    if summary.refusal_latency_ms is not None:
        rows.append(("refusal p50 / p95 / p99", spread(summary.refusal_latency_ms, "ms")))
        rows.append(("Retry-After p50 / p95 / p99", spread(summary.retry_after_s, "s")))
    if summary.client_lag_ms is not None:
        rows.append(("this client's own lateness", spread(summary.client_lag_ms, "ms")))
    if summary.server is not None:
        rows.append(("mean batch", _batching(summary)))
        if summary.server.shed:
            rows.append(("refused, by reason", outcomes(summary.server.shed)))
    return Table(f"{summary.scenario}: {'passed' if summary.passed else 'FAILED'}", ("", ""), tuple(rows))


def _batching(summary: Summary) -> str:
    batching = summary.server.batching if summary.server else None
    if batching is None or batching.mean_batch_size is None:
        return "no batch counted"
    padding = "" if batching.mean_padding_ratio is None else f", padding {batching.mean_padding_ratio:.1%}"
    return f"{batching.mean_batch_size:.2f} images over {batching.batches} batches{padding}"


def _findings(findings: Mapping[str, float | None]) -> Table:
    rows = tuple((name, "never" if value is None else f"{value:.3g}") for name, value in findings.items())
    return Table("found", ("", ""), rows)


def _kinds(summary: Summary) -> Table:
    rows = tuple(
        (kind, str(group.sent), str(group.ok), spread(group.latency_ms, "ms"), outcomes(group.by_outcome))
        for kind, group in summary.kinds.items()
    )
    return Table("by kind of caller", ("kind", "sent", "ok", "p50 / p95 / p99", "by status"), rows)


def _stages(summary: Summary) -> Table:
    """From the answers themselves, and beside it the mean of the service's own metrics over the same time."""
    scraped = summary.server.mean_stage_ms if summary.server else {}
    rows = tuple(
        (
            stage,
            *(f"{value:.1f}" for value in (of.p50, of.p95, of.p99)),
            f"{scraped[stage]:.1f}" if stage in scraped else "-",
        )
        for stage, of in summary.stages_ms.items()
    )
    return Table("stages (ms)", ("stage", "p50", "p95", "p99", "mean by /metrics"), rows)


def _slowest(summary: Summary) -> Table:
    rows = tuple(
        (f"{one.latency_ms:.1f}", f"{one.due_s:.2f}", one.outcome, one.picture, one.request_id or "-")
        for one in summary.slowest
    )
    return Table("slowest", ("ms", "due at s", "outcome", "image", "request id"), rows)


def outcomes(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{outcome}: {count:g}" for outcome, count in counts.items()) or "-"


def spread(of: Percentiles | None, unit: str) -> str:
    return "-" if of is None else f"{of.p50:.1f} / {of.p95:.1f} / {of.p99:.1f} {unit}"


def to_rich(table: Table) -> RichTable:
    """For the terminal."""
    shown = RichTable(title=table.title, show_header=any(table.headings))
    for column, heading in enumerate(table.headings):
        shown.add_column(heading, justify="left" if column == 0 or not any(table.headings) else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown
