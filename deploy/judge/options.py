"""Options that several commands of `rcnn gate` share, and how they end: the verdict said, then an exit code."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.judge.verdict import Verdict

Key = Annotated[
    Path | None, typer.Option(help="Ed25519 private key (PEM) that signs the verdict.", exists=True, dir_okay=False)
]
Out = Annotated[Path | None, typer.Option(help="Folder that gets verdict.json and report.html.", file_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the verdict as JSON instead of sentences.")]
PrometheusUrl = Annotated[str, typer.Option("--prometheus", help="Address of the Prometheus that scrapes the pods.")]
Candidate = Annotated[str, typer.Option(help="The name the candidate is shadowed by (shadow_candidate).")]
Selector = Annotated[str, typer.Option(help='Further label matchers, such as namespace="vision".')]
Horizon = Annotated[float, typer.Option(min=0.01, help="Minutes until an answer must be there.")]
Rate = Annotated[float, typer.Option(min=0, help="Pairs a minute: requests a minute times the share shadowed.")]
Margin = Annotated[float, typer.Option(min=0, max=1, help="Disagreement allowed above the floor.")]
Floor = Annotated[float, typer.Option(min=0, max=1, help="Disagreement of two stable replicas.")]
Errors = Annotated[float, typer.Option(min=0, max=1, help="Share of images the candidate may fail on.")]
ErrorTimes = Annotated[
    float, typer.Option(min=1, help="Times as many errors a request of split traffic as the other releases have.")
]
Window = Annotated[int, typer.Option(min=1, help="Seconds of split traffic compared at a time; a scrape or more.")]
Share = Annotated[
    float | None,
    typer.Option(min=0.0001, max=0.9999, help="Share of requests shadowed, as set: checked. Unset: it is not."),
]
WarmUp = Annotated[float, typer.Option(min=0, help="Seconds from the first pair on that are no evidence.")]
Since = Annotated[float | None, typer.Option(help="Start of the rollout, seconds since the epoch; now.")]
Twin = Annotated[str | None, typer.Option(help="Name a stable replica is shadowed by: measures the floor.")]


def give(verdict: Verdict, out: Path | None, key: Path | None, as_json: bool) -> None:
    """Write and say the verdict, then exit with its code."""
    document = verdict.document()
    if key:
        from deploy.judge.signature import signed

        document = signed(document, key)
    text = json.dumps(document, indent=2)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "verdict.json").write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        for finding in verdict.findings:
            typer.echo(f"{finding.state:5}  {finding.name}: {finding.sentence}")
        for reason in verdict.unfit:
            typer.echo(f"unfit  {reason}")
        typer.echo(verdict.decision.value)
    raise typer.Exit(verdict.decision.exit_code)
