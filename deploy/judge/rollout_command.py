"""`rcnn gate rollout`: steps of a release, by the weights of plain Gateway API routes."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deploy.judge import options
from deploy.judge.verdict import Decision, Verdict, decide

if TYPE_CHECKING:
    from deploy.judge.routes import Cluster, Split
    from deploy.judge.steps import Steps

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
USAGE = 2


class Stopped(Exception):
    """SIGTERM or SIGINT."""


def rollout(
    prometheus: options.PrometheusUrl,
    candidate: options.Candidate,
    namespace: Annotated[str, typer.Option(help="Of the routes and Services.")],
    stable: Annotated[str, typer.Option(help="Service of the stable release.")],
    canary: Annotated[str, typer.Option(help="Service of the candidate.")],
    http_route: Annotated[list[str] | None, typer.Option(help="HTTPRoute to change; may be repeated.")] = None,
    grpc_route: Annotated[list[str] | None, typer.Option(help="GRPCRoute to change; may be repeated.")] = None,
    weights: Annotated[str, typer.Option(help="Per cents of traffic, each asking for a verdict.")] = "5,25,50,100",
    least_s: Annotated[float, typer.Option(min=0, help="Seconds at each weight, whatever the evidence.")] = 60.0,
    horizon_minutes: options.Horizon = 60.0,
    every_s: Annotated[float, typer.Option(min=0.01, help="Seconds between looks.")] = 15.0,
    undecided_means: Annotated[
        Decision, typer.Option(help="What the horizon makes of undecided at a weight; undecided: no traffic, exit 3.")
    ] = Decision.UNDECIDED,
    selector: options.Selector = "",
    twin: options.Twin = None,
    since: options.Since = None,
    disagreement: options.Margin = 0.05,
    floor: options.Floor = 0.0,
    errors: options.Errors = 0.002,
    error_times: options.ErrorTimes = 1.25,
    window_s: options.Window = 30,
    share: options.Share = None,
    warm_up_s: options.WarmUp = 0.0,
    api: Annotated[str | None, typer.Option(help="Kubernetes' API; the one of the cluster this runs in.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with a bearer token; the service account's.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="PEM file of the API's authority; the cluster's.")] = None,
    out: options.Out = None,
    key: options.Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Give a candidate traffic step by step, each step judged; none at all once the judge says roll back."""
    from deploy.judge.details import History
    from deploy.judge.prometheus import Prometheus
    from deploy.judge.report import write_report
    from deploy.judge.routes import Route, Split
    from deploy.judge.shadow_gate import Policy
    from deploy.judge.steps import Steps, read_weights
    from deploy.judge.watch import Rollout, details_of, look

    routes = [Route("HTTPRoute", namespace, name) for name in http_route or []]
    routes += [Route("GRPCRoute", namespace, name) for name in grpc_route or []]
    if not routes:
        _refuse("name at least one route: --http-route or --grpc-route")
    try:
        rising = read_weights(weights)
    except ValueError as error:
        _refuse(f"--weights {error}")
    split = Split(_cluster(api, token_file, ca_file), routes, stable, canary)
    steps = Steps(rising, least_s, horizon_minutes * 60, every_s, undecided_means)
    asked, start = Rollout(candidate, selector, twin, warm_up_s, window_s), time.time() if since is None else since
    policy = Policy(errors=errors, disagreement=disagreement, floor=floor, share=share, error_times=error_times)
    server, history = Prometheus(prometheus), History()
    verdict = _climb(split, steps, lambda: history.add(look(server, asked, policy, start, time.time())))
    if out:
        write_report(out / "report.html", verdict, looks=history.looks, details=details_of(server, verdict))
    options.give(verdict, out, key, as_json)


def _climb(split: "Split", steps: "Steps", look: Callable[[], Verdict]) -> Verdict:
    from deploy.judge.routes import ClusterUnavailable, RouteInvalid, TakenOver
    from deploy.judge.steps import climb

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        split.check()
        return climb(split, steps, look, lambda sentence: typer.echo(sentence, err=True))
    except RouteInvalid as error:
        _refuse(str(error))
    except ClusterUnavailable as error:
        return decide({}, [], [f"{error}; the weights are as they were last told: see to them"])
    except TakenOver as error:
        return decide({}, [], [str(error)])
    except Stopped:
        return decide({}, [], ["stopped from outside"])
    finally:
        _ignore_signals()  # the verdict is still to be written


def _stop(number: int, _: object) -> None:
    """Once: what follows must not be stopped in its turn."""
    _ignore_signals()
    raise Stopped


def _ignore_signals() -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)


def _cluster(api: str | None, token_file: Path | None, ca_file: Path | None) -> "Cluster":
    """The API server named, or the one of the cluster this runs in, by the pod's own service account."""
    from deploy.judge.routes import Cluster

    if api is not None:
        return Cluster(api, token_file, ca_file)
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if host is None:
        _refuse("this is no pod: say where Kubernetes' API is with --api, --token-file and --ca-file")
    named = f"[{host}]" if ":" in host else host
    url = f"https://{named}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"
    return Cluster(url, token_file or _ACCOUNT / "token", ca_file or _ACCOUNT / "ca.crt")


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"rcnn: {sentence}", err=True)
    raise typer.Exit(USAGE)
