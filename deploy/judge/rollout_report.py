"""The sections of a report that only a rollout has: evidence over time, agreement by class and size, pace."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from deploy.judge import charts
from deploy.judge.details import Look, ShadowDetails, quantile
from deploy.judge.shadow_gate import Buckets
from deploy.judge.verdict import Verdict

_SIZES = ("small", "medium", "large")


def evidence_section(verdict: Verdict, looks: Sequence[Look]) -> Iterator[str]:
    """One chart a guard that was read at two looks or more: split traffic may come later than pairs, or before them."""
    read = {f.name: [look for look in looks if f.name in look.log_e] for f in verdict.findings}
    drawn = "".join(
        charts.evidence(f.name, read[f.name], (f.figures["log_e_rollback"], f.figures["log_e_promote"]))
        for f in verdict.findings
        if len(read[f.name]) > 1
    )
    if not drawn:
        return
    yield (
        "<h2>Evidence over time</h2><p>How strongly the pairs speak <b class='worse'>against</b> and "
        "<b class='fine'>for</b> the candidate (e-values). Above its dotted line each is enough, at whatever look; "
        f"one line in red rolls back; all in green promote, slow tail and split errors aside.</p>"
        f"<div class='charts'>{drawn}</div>"
    )


def details_sections(details: ShadowDetails) -> Iterator[str]:
    if details.by_class:
        rows = sorted(details.by_class.items(), key=lambda row: -sum(row[1].values()))
        yield f"<h2>Agreement by class</h2>{_agreement(dict(rows))}"
    if details.by_size:
        sizes = {size: details.by_size[size] for size in _SIZES if size in details.by_size}
        yield f"<h2>Agreement by size of the object</h2>{_agreement(sizes)}"
    if details.differences:
        yield f"<h2>How far the two differ about what both see</h2>{_quantiles(details.differences)}"
    if chart := charts.work(details.work_s):
        yield (
            "<h2>Latency</h2><p><b class='stable'>Stable</b> and <b class='candidate'>candidate</b>, work without "
            f"waiting.</p><div class='charts'>{chart}<div>{_quantiles(details.work_s, (0.5, 0.95, 0.99))}</div></div>"
        )


def _agreement(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Objects by what became of them; a bar for the share that agrees."""
    outcomes = [name for name in _outcomes(rows) if name != "agree"]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in outcomes)
    body = "".join(_agreement_row(name, counts, outcomes) for name, counts in rows.items())
    return f"<table><tr><th></th><th>objects</th><th>agree</th><th></th>{head}</tr>{body}</table>"


def _outcomes(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    total: dict[str, float] = {}
    for counts in rows.values():
        for name, count in counts.items():
            total[name] = total.get(name, 0.0) + count
    return [name for name, count in sorted(total.items(), key=lambda row: -row[1]) if count]


def _agreement_row(name: str, counts: Mapping[str, float], outcomes: Sequence[str]) -> str:
    objects = sum(counts.values())
    share = counts.get("agree", 0.0) / objects if objects else 1.0
    cells = "".join(f"<td>{counts.get(outcome, 0):g}</td>" for outcome in outcomes)
    bar = f'<span class="bar"><span style="width:{100 * share:.1f}%"></span></span>'
    return f"<tr><td>{escape(name)}</td><td>{objects:g}</td><td>{share:.1%}</td><td>{bar}</td>{cells}</tr>"


def _quantiles(rows: Mapping[str, Buckets], ranks: Sequence[float] = (0.1, 0.5, 0.9)) -> str:
    head = "".join(f"<th>{rank:.0%}</th>" for rank in ranks)
    body = ""
    for name, buckets in rows.items():
        found = [quantile(buckets, rank) for rank in ranks]
        cells = "".join(f"<td>{'–' if value is None else f'{value:.3g}'}</td>" for value in found)
        body += f"<tr><td>{escape(name)}</td>{cells}<td>{sum(buckets.counts):g}</td></tr>"
    return f"<table><tr><th></th>{head}<th>of</th></tr>{body}</table>"
