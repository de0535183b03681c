"""A verdict as one HTML file that needs nothing else."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.judge.details import Look, ShadowDetails
from deploy.judge.exhibits import Exhibit
from deploy.judge.rollout_report import details_sections, evidence_section
from deploy.judge.verdict import Decision, Verdict

if TYPE_CHECKING:  # pods have no library for average precision, and jobs in them write reports
    from model.compare import Difference

_MARKS = {"fine": "✓ fine", "worse": "✗ worse", "open": "? open"}
_ANSWERS = {
    Decision.PROMOTE: "Promote: nothing asked about is worse than allowed.",
    Decision.ROLLBACK: "Roll back: something is worse than allowed.",
    Decision.UNDECIDED: "Undecided: the evidence does not carry either answer.",
}


def write_report(
    path: Path,
    verdict: Verdict,
    differences: Sequence["Difference"] = (),
    exhibits: Iterable[Exhibit] = (),
    looks: Sequence[Look] = (),
    details: ShadowDetails | None = None,
) -> None:
    """Write path, its folder included. looks and details: of a rollout; differences: of bundles on labelled images."""
    style = (Path(__file__).parent / "report.css").read_text()
    rollout = [*evidence_section(verdict, looks), *(details_sections(details) if details else ())]
    body = "".join(_sections(verdict, differences, exhibits, rollout))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{verdict.decision} – rcnn gate</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head><body>{body}</body></html>\n'
    )


def _sections(
    verdict: Verdict, differences: Sequence["Difference"], exhibits: Iterable[Exhibit], rollout: Sequence[str]
) -> Iterable[str]:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
    yield f'<h1 class="{verdict.decision}">{verdict.decision}</h1><p>{_ANSWERS[verdict.decision]}</p>'
    yield f"<ul>{reasons}</ul>" if verdict.decision != Decision.PROMOTE else ""
    rows = "".join(
        f'<tr class="{finding.state}"><td>{escape(finding.name)}</td><td>{_MARKS[finding.state]}</td>'
        f"<td>{escape(finding.sentence)}</td></tr>"
        for finding in verdict.findings
    )
    yield f"<h2>What was asked</h2><table>{rows}</table>"
    yield from rollout
    if differences:
        yield f"<h2>Average precision by class</h2>{_differences(differences)}"
    shown = "".join(
        f'<figure><img src="{exhibit.uri}" alt=""><figcaption>{escape(exhibit.title)}</figcaption></figure>'
        for exhibit in exhibits
    )
    if shown:
        yield (
            "<h2>Most disagreement</h2><p>Old or stable left, new right. Green: both agree; orange: seen by both, "
            f"differently; red: seen by this side alone.</p>{shown}"
        )
    yield f"<h2>Judged</h2><pre>{escape(json.dumps(verdict.subject, indent=2))}</pre>"


def _differences(differences: Sequence["Difference"]) -> str:
    widest = max(max(abs(row.low), abs(row.high)) for row in differences) or 1.0
    rows = "".join(
        f"<tr><td>{escape(f'{row.kind}, {row.label}')}</td><td>{row.there:.4f}</td><td>{row.here:.4f}</td>"
        f"<td>{row.change:+.4f}</td><td>{_whisker(row, widest)}</td></tr>"
        for row in differences
    )
    head = "<tr><th></th><th>old</th><th>new</th><th>change</th><th>95 % interval</th></tr>"
    return f"<table>{head}{rows}</table>"


def _whisker(row: "Difference", widest: float) -> str:
    """The interval as a line over a zero mark, losses left."""
    left, at, right = (100 + 95 * value / widest for value in (row.low, row.change, row.high))
    return (
        f'<svg viewBox="0 0 200 16" width="200"><line x1="100" x2="100" y1="0" y2="16" class="zero"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="8" y2="8"/><circle cx="{at:.1f}" cy="8" r="3.5"/>'
        f"<title>{row.low:+.4f} to {row.high:+.4f}</title></svg>"
    )
