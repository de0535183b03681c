"""`rcnn gate`: may a release go out? Exit 0 promote, 1 roll back, 2 usage, 3 undecided."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.judge.calibrate_command import calibrate
from deploy.judge.options import (
    AsJson,
    Candidate,
    Errors,
    Floor,
    Horizon,
    Key,
    Margin,
    Out,
    PrometheusUrl,
    Rate,
    Selector,
    Since,
    Twin,
    give,
)
from deploy.judge.rollout_command import rollout
from deploy.judge.verdict import Decision
from service.logs import configure_logs

app = typer.Typer(name="rcnn gate", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

if TYPE_CHECKING:
    from deploy.judge.shadow_gate import Policy


@app.callback()
def gate() -> None:
    """May this release go out? Three answers: promote (exit 0), rollback (1), undecided (3)."""
    configure_logs("warning", "console")


@app.command()
def bundle(
    new: Annotated[Path, typer.Argument(help="The bundle that wants to go out.")],
    against: Annotated[Path, typer.Option(help="The bundle it would replace.")],
    data: Annotated[Path, typer.Option(help="Folder with labelled images, COCO or VOC.", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split to judge on.")] = "val",
    engine: Annotated[str, typer.Option(help="auto, onnx or openvino.")] = "auto",
    ap_drop: Annotated[float, typer.Option(min=0, help="AP that may be lost.")] = 0.01,
    slowdown: Annotated[float, typer.Option(min=0, help="Work per image allowed, new over old.")] = 1.2,
    growth: Annotated[float, typer.Option(min=0, help="Bytes on disk allowed, new over old.")] = 1.25,
    out: Out = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Judge a bundle on labelled images before it sees any traffic: AP, latency, size, agreement."""
    from deploy.judge.bundle_gate import Limits, judge_bundle
    from deploy.judge.exhibits import worst
    from deploy.judge.report import write_report
    from model.datasets import DatasetInvalid, read_dataset
    from model.terminal import failure, progress_bar
    from service.bundle import read_bundle
    from service.errors import BundleInvalid

    try:
        masks = read_bundle(against).manifest.task == "segmentation"
        images = read_dataset(data, split, masks=masks)
        with progress_bar() as progress:
            judged = judge_bundle(new, against, images, engine, Limits(ap_drop, slowdown, growth), progress)
    except (DatasetInvalid, BundleInvalid, OSError) as error:
        failure(error)
        raise typer.Exit(3) from error  # what there is to judge by is broken: that is nobody's rollback
    if out:
        write_report(out / "report.html", judged.verdict, judged.differences, worst(judged.compared))
    give(judged.verdict, out, key, as_json)


@app.command()
def plan(
    pairs_per_minute: Rate,
    horizon_minutes: Horizon = 60.0,
    disagreement: Margin = 0.05,
    floor: Floor = 0.0,
    errors: Errors = 0.002,
) -> None:
    """Say what this traffic can tell, and by when; exit 2 if it could tell nothing."""
    from deploy.judge.shadow_gate import Policy

    print_plan(Policy(errors=errors, disagreement=disagreement, floor=floor), pairs_per_minute, horizon_minutes)


def print_plan(policy: "Policy", pairs_per_minute: float, horizon_minutes: float) -> None:
    from deploy.judge.plan import CannotTell, make_plan

    errors, disagreement, latency = policy.guards()
    expected = [(errors, 0.0), (disagreement, policy.floor), (latency, 0.5)]
    alphas = policy.alpha_rollback, policy.alpha_promote
    try:
        made = make_plan(expected, pairs_per_minute, horizon_minutes, *alphas)
    except CannotTell as error:
        typer.echo(f"rcnn: {error}", err=True)
        raise typer.Exit(2) from error
    for sentence in made.sentences():
        typer.echo(sentence)


@app.command()
def watch(
    prometheus: PrometheusUrl,
    candidate: Candidate,
    selector: Selector = "",
    twin: Twin = None,
    horizon_minutes: Horizon = 60.0,
    every_s: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 15.0,
    since: Since = None,
    undecided_means: Annotated[
        Decision, typer.Option(help="What the horizon makes of undecided; unfit evidence stays undecided.")
    ] = Decision.UNDECIDED,
    pairs_per_minute: Annotated[float | None, typer.Option(help="Expected; the plan is checked first.")] = None,
    disagreement: Margin = 0.05,
    floor: Floor = 0.0,
    errors: Errors = 0.002,
    out: Out = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Watch a shadowed candidate until there is an answer; looking often costs nothing."""
    from deploy.judge.prometheus import Prometheus
    from deploy.judge.report import write_report
    from deploy.judge.shadow_gate import Policy
    from deploy.judge.watch import Rollout, at_horizon
    from deploy.judge.watch import watch as looks

    policy = Policy(errors=errors, disagreement=disagreement, floor=floor)
    if pairs_per_minute is not None:
        print_plan(policy, pairs_per_minute, horizon_minutes)
    start = time.time() if since is None else since
    rollout = Rollout(candidate, selector, twin)
    for verdict in looks(Prometheus(prometheus), rollout, policy, horizon_minutes * 60, every_s, start):
        pairs = verdict.subject.get("pairs", "no")
        typer.echo(f"{verdict.decision}, {pairs} pairs: {verdict.reasons[0]}", err=True)
    last = at_horizon(verdict, undecided_means)
    if out:
        write_report(out / "report.html", last)
    give(last, out, key, as_json)


app.command()(rollout)
app.command()(calibrate)


@app.command()
def serve(
    prometheus: PrometheusUrl,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8010,
    selector: Selector = "",
    horizon_minutes: Horizon = 60.0,
    disagreement: Margin = 0.05,
    floor: Floor = 0.0,
    errors: Errors = 0.002,
) -> None:
    """Answer Argo Rollouts' web metrics and Flagger's webhooks."""
    from deploy.judge.prometheus import Prometheus
    from deploy.judge.server import create_server
    from deploy.judge.shadow_gate import Policy

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as a container's first process it would not stop otherwise
    policy = Policy(errors=errors, disagreement=disagreement, floor=floor)
    with create_server(host, port, Prometheus(prometheus), policy, selector, horizon_minutes * 60) as server:
        typer.echo(f"listening on http://{host}:{server.server_address[1]}")
        server.serve_forever()


@app.command()
def verify(
    verdict: Annotated[Path, typer.Argument(help="A verdict.json.", exists=True)],
    key: Annotated[Path, typer.Option(help="The judge's public key (PEM).", exists=True)],
) -> None:
    """Check that a verdict is unchanged and was signed by the holder of a key; exit 1 if not."""
    from deploy.judge.signature import SignatureInvalid
    from deploy.judge.signature import verify as verify_signature

    try:
        document = verify_signature(json.loads(verdict.read_text()), key)
    except SignatureInvalid as error:
        typer.echo(f"rcnn: {verdict}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{document['decision']}, signed")
