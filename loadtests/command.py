"""
Send real images to a running rcnn service and say what its callers would see.

All scenarios but closed are open loop: callers arrive at random (Poisson) at given rates and wait for nobody. Latency
counts from the moment a request was due, so time spent waiting behind a slow server is not hidden.

Writes SCENARIO.json, .png and a self-contained .html into --out. Exit codes: 0 every answer correct, 1 something
failed, 2 usage.

    python -m loadtests steady --rate 20 -q masks=rle

    python -m loadtests overload --url http://127.0.0.1:8000
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtests import driver, findings, scenarios
from loadtests.pictures import NoPictures, Picture, read_pictures
from loadtests.run import Common, Run, drive, stop
from loadtests.wire import Trickle

CALIBRATION_REQUESTS, CALIBRATION_CALLERS = 400, 32

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


def _common(
    images: Annotated[
        Path | None, typer.Option(help="A folder of images, sent in turn, shuffled. Default: the golden images.")
    ] = None,
    url: Annotated[
        str, typer.Option(help="Scheme, host and port of the service's HTTP door.")
    ] = "http://127.0.0.1:8000",
    model: Annotated[str | None, typer.Option(help="Ask for this model, not for the service's default.")] = None,
    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", help="An option, such as masks=rle. Repeatable.")
    ] = None,
    timeout_s: Annotated[float, typer.Option(min=0.001, help="Seconds from due to giving up.")] = 30.0,
    deadline_ms: Annotated[
        int | None, typer.Option(min=1, help="Sent as X-Request-Timeout-Ms with every request.")
    ] = None,
    objective_ms: Annotated[
        float | None, typer.Option(min=0, help="Count as goodput only correct answers this quick.")
    ] = None,
    tolerate: Annotated[
        list[str] | None, typer.Option(help="An outcome that is no error here, such as 429. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same schedule and same order of images.")] = 0,
    metrics_url: Annotated[
        str | None, typer.Option(help="Where to read metrics: port 8002 of --url's host unless given; '' reads none.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("loadtests/results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of tables.")] = False,
) -> Common:
    """What every scenario can be told."""
    options = []
    for item in query or ():
        name, equals, value = item.partition("=")
        if not (name and equals):
            stop(f"--query {item!r} is not NAME=VALUE, such as masks=rle", code=2)
        options.append((name, value))
    target = driver.Target(url, model, options, timeout_s, deadline_ms)
    return Common(target, images, objective_ms, tuple(tolerate or ()), seed, metrics_url, out, as_json)


def _scenario(command: Callable[..., None]) -> Callable[..., None]:
    """Register command, whose first argument is the run; its options are its own and then the common ones."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(_common, eval_str=True).parameters.values())

    def call(**given: Any) -> None:
        common = _common(**{parameter.name: given.pop(parameter.name) for parameter in shared})
        try:
            command(Run(common, _pictures(common.images)), **given)
        except scenarios.NothingDue as error:
            stop(f"{error}: raise the rate or the duration", code=2)

    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]
    )
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    app.command(name=command.__name__.replace("_", "-"), help=command.__doc__)(call)
    return command


Rate = Annotated[float, typer.Option(min=0.001, help="Requests per second, on average.")]
Duration = Annotated[float, typer.Option(min=0.001, help="Seconds over which requests become due.")]


@_scenario
def steady(run: Run, rate: Rate = 10.0, duration_s: Duration = 20.0) -> None:
    """One rate throughout."""
    run.measure(scenarios.steady(run.target, run.pictures, rate, duration_s, run.seed))


@_scenario
def ramp(
    run: Run,
    from_rate: Annotated[float, typer.Option(min=0.001, help="Requests per second of the first step.")] = 5.0,
    growth: Annotated[float, typer.Option(min=1.01, help="Each step is this many times the one before.")] = 1.5,
    steps: Annotated[int, typer.Option(min=1, help="How many steps.")] = 10,
    step_s: Annotated[float, typer.Option(min=0.1, help="Seconds of each step.")] = 5.0,
) -> None:
    """Stepped rates up to the knee and beyond: finds the rate up to which nobody waits long or is refused."""
    rates_per_s = [round(from_rate * growth**step, 1) for step in range(steps)]
    traffic = scenarios.ramp(run.target, run.pictures, rates_per_s, step_s, run.seed)
    run.measure(traffic, lambda summary, _: findings.of_ramp(summary, rates_per_s))


@_scenario
def burst(
    run: Run,
    calm_rate: Annotated[float, typer.Option(min=0.001, help="Requests per second between bursts.")] = 5.0,
    burst_rate: Annotated[float, typer.Option(min=0.001, help="Requests per second in a burst.")] = 50.0,
    burst_s: Annotated[float, typer.Option(min=0.1, help="Seconds of a burst; calm lasts four times as long.")] = 1.0,
) -> None:
    """Three short bursts out of calm."""
    run.measure(scenarios.burst(run.target, run.pictures, calm_rate, burst_rate, burst_s, run.seed))


@_scenario
def overload(
    run: Run,
    capacity: Annotated[
        float | None, typer.Option(min=0.001, help="Requests per second the service can do. Default: measured first.")
    ] = None,
    factor: Annotated[float, typer.Option(min=1, help="The overload, in capacities.")] = 3.0,
    step_s: Annotated[float, typer.Option(min=1, help="Seconds before, under and after the overload.")] = 8.0,
) -> None:
    """Several times the measured capacity, then recovery."""
    run.check_ready()
    capacity = capacity or _capacity_per_s(run)
    traffic = scenarios.overload(run.target, run.pictures, capacity, factor, step_s, run.seed)
    run.measure(traffic, lambda _, samples: findings.of_overload(samples, capacity, step_s))


@_scenario
def slow_clients(
    run: Run,
    rate: Rate = 10.0,
    duration_s: Duration = 20.0,
    slow_share: Annotated[float, typer.Option(min=0, max=1, help="Share of callers that are slow.")] = 0.5,
    pieces: Annotated[int, typer.Option(min=2, help="A slow body comes in so many pieces.")] = 10,
    pause_s: Annotated[float, typer.Option(min=0, help="Seconds between the pieces.")] = 0.2,
) -> None:
    """Callers on bad lines beside quick ones: do the quick ones notice?"""
    trickle = Trickle(pieces, pause_s)
    run.measure(scenarios.slow_clients(run.target, run.pictures, rate, duration_s, slow_share, trickle, run.seed))


@_scenario
def masks(run: Run, rate: Rate = 10.0, duration_s: Duration = 20.0) -> None:
    """Callers without masks beside callers with each mask format: who pays for the masks?"""
    run.measure(scenarios.masks(run.target, run.pictures, rate, duration_s, run.seed))


@_scenario
def closed(
    run: Run,
    requests: Annotated[int, typer.Option(min=1, help="How many requests in all.")] = 200,
    concurrency: Annotated[int, typer.Option(min=1, help="How many callers at once.")] = 16,
) -> None:
    """A fixed number of callers, each waiting for its answer before it asks again (closed loop)."""
    run.measure(scenarios.closed(run.target, run.pictures, requests, concurrency, run.seed))


def _capacity_per_s(run: Run) -> float:
    """Correct answers per second with enough callers to keep the service busy."""
    traffic = scenarios.closed(run.target, run.pictures, CALIBRATION_REQUESTS, CALIBRATION_CALLERS, run.seed)
    samples = drive(traffic, lambda _: None)
    good = sum(sample.is_ok for sample in samples)
    if not good:
        stop(f"no correct answer among {len(samples)}: no capacity to overload", code=1)
    return good / max(sample.done_s for sample in samples)


def _pictures(folder: Path | None) -> list[Picture]:
    try:
        return read_pictures(folder)
    except NoPictures as error:
        stop(str(error), code=2)


def main() -> None:
    app(prog_name="python -m loadtests")
