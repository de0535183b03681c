"""
Send real images to a running rcnn service and say what its callers would see.

steady: callers arrive at random at a given rate and wait for nobody (open
loop). Latency counts from the moment a request was due, so time spent waiting
behind a slow server is not hidden.

closed: a fixed number of callers, each waiting for its answer before it asks
again (closed loop).

Writes OUT/SCENARIO.json and OUT/SCENARIO.png. Exit codes: 0 every answer
correct, 1 something failed, 2 usage.

    python -m loadtests steady --images DIR --rate 20 -q masks=rle

    python -m loadtests closed --images DIR --requests 200 --concurrency 16
"""

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests import driver, pictures, report, scrape
from loadtests.arrivals import poisson_arrivals_s
from loadtests.samples import Sample

METRICS_PORT = 8002
REACH_TIMEOUT_S = 5.0

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
out_console = Console()
error_console = Console(stderr=True, soft_wrap=True, highlight=False)

Url = Annotated[str, typer.Option(help="Scheme, host and port of the service's HTTP door.")]
Images = Annotated[Path, typer.Option(help="A folder of images (jpg, png, webp, bmp, tiff), sent in turn, shuffled.")]
Model = Annotated[str | None, typer.Option(help="Ask for this model by name, not for the service's default.")]
Query = Annotated[list[str] | None, typer.Option("--query", "-q", help="An option, such as masks=rle. Repeatable.")]
Timeout = Annotated[float, typer.Option(min=0.001, help="Seconds from due to giving up.")]
Deadline = Annotated[int | None, typer.Option(min=1, help="Sent as X-Request-Timeout-Ms with every request.")]
Objective = Annotated[float | None, typer.Option(min=0, help="Count as goodput only correct answers this quick.")]
Tolerate = Annotated[list[str] | None, typer.Option(help="An outcome that is no error here, such as 429. Repeatable.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same schedule and same order of images.")]
MetricsUrl = Annotated[
    str | None,
    typer.Option(help=f"Where to read batch sizes: port {METRICS_PORT} of --url's host unless given; '' reads none."),
]
Out = Annotated[Path, typer.Option(help="Folder for the JSON and the plot.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of tables.")]

Drive = Callable[[driver.OnDone], Coroutine[None, None, list[Sample]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run about to happen, and where its figures go."""

    scenario: str
    target: driver.Target
    settings: dict[str, object]
    requests: int
    planned_s: float
    """Length of the schedule; 0 where there is none."""
    metrics_url: str
    objective_ms: float | None
    tolerated: Sequence[str]
    out: Path
    as_json: bool


@app.command()
def steady(
    images: Images,
    url: Url = "http://127.0.0.1:8000",
    rate: Annotated[float, typer.Option(min=0.001, help="Requests per second, on average.")] = 10.0,
    duration_s: Annotated[float, typer.Option(min=0.001, help="Seconds over which requests become due.")] = 20.0,
    model: Model = None,
    query: Query = None,
    timeout_s: Timeout = 30.0,
    deadline_ms: Deadline = None,
    objective_ms: Objective = None,
    tolerate: Tolerate = None,
    seed: Seed = 0,
    metrics_url: MetricsUrl = None,
    out: Out = Path("loadtests/results"),
    as_json: AsJson = False,
) -> None:
    """Random arrivals at a given rate, waiting for nobody (open loop, Poisson)."""
    target = driver.Target(url, model, _options(query), timeout_s, deadline_ms)
    arrivals_s = poisson_arrivals_s(rate, duration_s, seed)
    if not arrivals_s:
        _stop(f"no request falls due within {duration_s:g} s at {rate:g}/s: raise --rate or --duration-s", code=2)
    dealt = pictures.deal(_pictures(images), len(arrivals_s), seed)
    plan = Plan(
        scenario="steady",
        target=target,
        settings=_settings(target, images, seed) | {"rate_per_s": rate, "duration_s": duration_s},
        requests=len(arrivals_s),
        planned_s=duration_s,
        metrics_url=_metrics_url(url) if metrics_url is None else metrics_url,
        objective_ms=objective_ms,
        tolerated=tolerate or (),
        out=out,
        as_json=as_json,
    )
    _run(plan, lambda on_done: driver.drive_open(target, dealt, arrivals_s, on_done=on_done))


@app.command()
def closed(
    images: Images,
    url: Url = "http://127.0.0.1:8000",
    requests: Annotated[int, typer.Option(min=1, help="How many requests in all.")] = 200,
    concurrency: Annotated[int, typer.Option(min=1, help="How many callers at once.")] = 16,
    model: Model = None,
    query: Query = None,
    timeout_s: Timeout = 60.0,
    deadline_ms: Deadline = None,
    objective_ms: Objective = None,
    tolerate: Tolerate = None,
    seed: Seed = 0,
    metrics_url: MetricsUrl = None,
    out: Out = Path("loadtests/results"),
    as_json: AsJson = False,
) -> None:
    """A fixed number of callers, each waiting for its answer before it asks again (closed loop)."""
    target = driver.Target(url, model, _options(query), timeout_s, deadline_ms)
    dealt = pictures.deal(_pictures(images), requests, seed)
    plan = Plan(
        scenario="closed",
        target=target,
        settings=_settings(target, images, seed) | {"requests": requests, "concurrency": concurrency},
        requests=requests,
        planned_s=0.0,
        metrics_url=_metrics_url(url) if metrics_url is None else metrics_url,
        objective_ms=objective_ms,
        tolerated=tolerate or (),
        out=out,
        as_json=as_json,
    )
    _run(plan, lambda on_done: driver.drive_closed(target, dealt, concurrency, on_done=on_done))


def _run(plan: Plan, drive: Drive) -> NoReturn:
    """Check that there is something to measure, measure it between two scrapes, and say how it went."""
    _check_ready(plan.target.url)
    before = _scrape(plan.metrics_url)
    with _progress(plan) as on_done:
        samples = asyncio.run(drive(on_done))
    after = _scrape(plan.metrics_url) if before is not None else None
    summary = report.summarise(
        plan.scenario,
        plan.settings,
        samples,
        planned_s=plan.planned_s,
        objective_ms=plan.objective_ms,
        tolerated=plan.tolerated,
        batching=None if before is None or after is None else scrape.batching_between(before, after),
    )
    _publish(plan, summary, samples)
    raise typer.Exit(0 if summary.passed else 1)


def _publish(plan: Plan, summary: report.Summary, samples: Sequence[Sample]) -> None:
    if plan.as_json:
        print(report.to_json(summary))
    else:
        out_console.print(report.to_table(summary))
    json_path, plot_path = plan.out / f"{plan.scenario}.json", plan.out / f"{plan.scenario}.png"
    try:
        report.write_json(summary, json_path)
        is_plotted = _plot(summary, samples, plot_path)
    except OSError as error:
        _stop(f"cannot write results to {plan.out}: {error.strerror or error}", code=1)
    error_console.print(f"wrote {json_path}" + (f" and {plot_path}" if is_plotted else ""))


def _plot(summary: report.Summary, samples: Sequence[Sample], path: Path) -> bool:
    """False, with a note, where the one dependency that only plots need is not there."""
    if importlib.util.find_spec("matplotlib") is None:
        error_console.print("note: no plot, because matplotlib is not installed")
        return False
    from loadtests.plot import write_plot  # here because matplotlib takes a second to import

    write_plot(summary, samples, path)
    return True


def _check_ready(url: str) -> None:
    try:
        response = httpx.get(f"{url.rstrip('/')}/readyz", timeout=REACH_TIMEOUT_S, trust_env=False)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        _stop(f"--url {url!r} is not an address: expected http://HOST:PORT", code=2)
    except httpx.HTTPError as error:
        _stop(f"cannot reach {url}: {error or type(error).__name__}. Is the service running there?", code=1)
    if response.status_code != 200:
        _stop(f"{url}/readyz answers {response.status_code}: the service is there, but not ready for traffic", code=1)


def _scrape(metrics_url: str) -> scrape.Totals | None:
    if not metrics_url:
        return None
    try:
        return scrape.scrape(metrics_url)
    except scrape.ScrapeFailed as error:
        error_console.print(f"note: {error}; batch sizes are left out")
        return None


@contextmanager
def _progress(plan: Plan) -> Iterator[driver.OnDone]:
    """A bar on a terminal, one plain line elsewhere."""
    line = f"{plan.scenario}: {plan.requests} requests to {plan.target.endpoint}"
    if not error_console.is_terminal:
        error_console.print(line)
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=error_console, transient=True) as bar:
        task = bar.add_task(line, total=plan.requests)
        yield lambda _: bar.advance(task)


def _pictures(folder: Path) -> list[pictures.Picture]:
    try:
        return pictures.read_pictures(folder)
    except pictures.NoPictures as error:
        _stop(str(error), code=2)


def _options(query: Sequence[str] | None) -> list[tuple[str, str]]:
    options: list[tuple[str, str]] = []
    for item in query or ():
        name, equals, value = item.partition("=")
        if not (name and equals):
            _stop(f"--query {item!r} is not NAME=VALUE, such as masks=rle", code=2)
        options.append((name, value))
    return options


def _settings(target: driver.Target, images: Path, seed: int) -> dict[str, object]:
    """What must be known to repeat the run."""
    return {
        "endpoint": target.endpoint,
        "images": images.name,
        "options": [f"{name}={value}" for name, value in target.options],
        "timeout_s": target.timeout_s,
        "deadline_ms": target.deadline_ms,
        "seed": seed,
    }


def _metrics_url(url: str) -> str:
    return f"http://{urlsplit(url).hostname or '127.0.0.1'}:{METRICS_PORT}/metrics"


def _stop(reason: str, code: int) -> NoReturn:
    error_console.print(f"error: {reason}", markup=False)
    raise typer.Exit(code)


def main() -> None:
    app(prog_name="python -m loadtests")


if __name__ == "__main__":
    main()
