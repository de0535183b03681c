"""`rcnn gate`: may a release go out? Exit 0 promote, 1 roll back, 2 usage, 3 undecided."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.judge import options
from deploy.judge.calibrate_command import calibrate
from deploy.judge.plan_command import plan
from deploy.judge.rollout_command import rollout
from deploy.judge.watch_command import watch
from service.logs import configure_logs

app = typer.Typer(name="rcnn gate", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


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
    out: options.Out = None,
    key: options.Key = None,
    as_json: options.AsJson = False,
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
    options.give(judged.verdict, out, key, as_json)


app.command()(plan)
app.command()(watch)
app.command()(rollout)
app.command()(calibrate)


@app.command()
def serve(
    prometheus: options.PrometheusUrl,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8010,
    selector: options.Selector = "",
    twin: options.Twin = None,
    horizon_minutes: options.Horizon = 60.0,
    disagreement: options.Margin = 0.05,
    floor: options.Floor = 0.0,
    errors: options.Errors = 0.002,
    error_times: options.ErrorTimes = 1.25,
    window_s: options.Window = 30,
    share: options.Share = None,
    warm_up_s: options.WarmUp = 0.0,
) -> None:
    """Answer Argo Rollouts' web metrics and Flagger's webhooks."""
    from deploy.judge.prometheus import Prometheus
    from deploy.judge.server import create_server
    from deploy.judge.shadow_gate import Policy

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as a container's first process it would not stop otherwise
    policy = Policy(errors=errors, disagreement=disagreement, floor=floor, share=share, error_times=error_times)
    asked = selector, horizon_minutes * 60, warm_up_s, window_s, twin
    with create_server(host, port, Prometheus(prometheus), policy, *asked) as server:
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
