"""`rcnn gate watch`: looks at a shadowed candidate until there is an answer, and writes what it saw."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.judge import options
from deploy.judge.details import History
from deploy.judge.plan_command import print_plan
from deploy.judge.verdict import Decision

if TYPE_CHECKING:
    from deploy.judge.exhibits import Exhibit


def watch(
    prometheus: options.PrometheusUrl,
    candidate: options.Candidate,
    selector: options.Selector = "",
    twin: options.Twin = None,
    horizon_minutes: options.Horizon = 60.0,
    every_s: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 15.0,
    since: options.Since = None,
    undecided_means: Annotated[
        Decision, typer.Option(help="What the horizon makes of undecided; unfit evidence stays undecided.")
    ] = Decision.UNDECIDED,
    pairs_per_minute: Annotated[float | None, typer.Option(help="Expected; the plan is checked first.")] = None,
    disagreement: options.Margin = 0.05,
    floor: options.Floor = 0.0,
    errors: options.Errors = 0.002,
    error_times: options.ErrorTimes = 1.25,
    window_s: options.Window = 30,
    share: options.Share = None,
    warm_up_s: options.WarmUp = 0.0,
    samples: Annotated[str | None, typer.Option(help="samples_url of the stable pods: the worst are drawn.")] = None,
    samples_key: Annotated[
        Path | None, typer.Option(help="Their samples_key, where samples are sealed.", exists=True, dir_okay=False)
    ] = None,
    out: options.Out = None,
    key: options.Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Watch a shadowed candidate until there is an answer; looking often costs nothing."""
    from deploy.judge.prometheus import Prometheus
    from deploy.judge.report import write_report
    from deploy.judge.shadow_gate import Policy
    from deploy.judge.watch import Rollout, at_horizon, details_of
    from deploy.judge.watch import watch as looks

    policy = Policy(errors=errors, disagreement=disagreement, floor=floor, share=share, error_times=error_times)
    if pairs_per_minute is not None:
        print_plan(policy, pairs_per_minute, horizon_minutes)
    start, server, history = time.time() if since is None else since, Prometheus(prometheus), History()
    rollout = Rollout(candidate, selector, twin, warm_up_s, window_s)
    for verdict in looks(server, rollout, policy, horizon_minutes * 60, every_s, start):
        history.add(verdict)
        pairs = verdict.subject.get("pairs", "no")
        typer.echo(f"{verdict.decision}, {pairs} pairs: {verdict.reasons[0]}", err=True)
    last = at_horizon(verdict, undecided_means)
    if out:
        details, drawn = details_of(server, last), _drawn(samples, samples_key, start)
        write_report(out / "report.html", last, exhibits=drawn, looks=history.looks, details=details)
    options.give(last, out, key, as_json)


def _drawn(samples: str | None, key: Path | None, start: float) -> "Iterable[Exhibit]":
    if samples is None:
        return ()
    from deploy.judge.sampled import worst_samples
    from service.sampling.seal import read_seal
    from service.sampling.store import SampleStore

    return worst_samples(SampleStore(samples, read_seal(key) if key else None, max_bytes=0, ttl_s=0), start)
