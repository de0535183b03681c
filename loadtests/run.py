"""One run of one scenario: check, scrape, send, scrape, publish."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import httpx
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests import driver, report, scrape, tables
from loadtests.pictures import Picture
from loadtests.samples import Sample
from loadtests.scenarios import Traffic

METRICS_PORT = 8002
_NEW_CONTAINERS = 50_000  # between two passes of the garbage collector; Python's own 700 are those of a few answers
REACH_TIMEOUT_S = 5.0

out_console = Console()
error_console = Console(stderr=True, soft_wrap=True, highlight=False)

Finder = Callable[[report.Summary, Sequence[Sample]], Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class Common:
    """What every scenario is told."""

    target: driver.Target
    images: Path | None
    objective_ms: float | None
    tolerated: tuple[str, ...]
    seed: int
    metrics_url: str | None
    out: Path
    as_json: bool


def drive(traffic: Traffic, on_done: driver.OnDone) -> list[Sample]:
    """Send it all, on the quickest event loop there is, with no pause of this process's own that can be helped."""
    gc.collect()
    gc.freeze()  # the orders and pictures of a run: a pass over them would make everything that is due meanwhile late
    gc.set_threshold(_NEW_CONTAINERS)
    if traffic.concurrency is None:
        return uvloop.run(driver.drive_open(traffic.orders, on_done=on_done))
    return uvloop.run(driver.drive_closed(traffic.orders, traffic.concurrency, on_done=on_done))


class Run:
    """What a scenario's command works with."""

    def __init__(self, common: Common, pictures: Sequence[Picture]) -> None:
        self._common, self.pictures = common, pictures
        self.target, self.seed = common.target, common.seed

    def measure(self, traffic: Traffic, find: Finder | None = None) -> NoReturn:
        """Send the traffic between two scrapes, say how it went, and exit: 0 if every answer was correct, else 1."""
        self.check_ready()
        common = self._common
        before = self._scrape()
        with _progress(traffic) as on_done:
            samples = drive(traffic, on_done)
        after = self._scrape() if before is not None else None
        summary = report.summarise(
            traffic.scenario,
            self._settings() | traffic.settings,
            samples,
            planned_s=traffic.planned_s,
            objective_ms=common.objective_ms,
            tolerated=(*common.tolerated, *traffic.tolerated),
            server=None if before is None or after is None else scrape.between(before, after),
        )
        found = find(summary, samples) if find else {}
        self._publish(summary, found, samples)
        raise typer.Exit(0 if summary.passed else 1)

    def check_ready(self) -> None:
        url = self.target.url
        try:
            response = httpx.get(f"{url.rstrip('/')}/readyz", timeout=REACH_TIMEOUT_S, trust_env=False)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            stop(f"--url {url!r} is not an address: expected http://HOST:PORT", code=2)
        except httpx.HTTPError as error:
            stop(f"cannot reach {url}: {error or type(error).__name__}. Is the service running there?", code=1)
        if response.status_code != 200:
            stop(f"{url}/readyz answers {response.status_code}: the service is there, but not ready", code=1)

    def _scrape(self) -> scrape.Series | None:
        url = self._common.metrics_url
        if url is None:
            url = f"http://{urlsplit(self.target.url).hostname or '127.0.0.1'}:{METRICS_PORT}/metrics"
        if not url:
            return None
        try:
            return scrape.scrape(url)
        except scrape.ScrapeFailed as error:
            error_console.print(f"note: {error}; what the service counted is left out")
            return None

    def _settings(self) -> dict[str, object]:
        """What must be known to repeat the run."""
        common, target = self._common, self.target
        return {
            "endpoint": target.endpoint,
            "images": common.images.name if common.images else "golden images of the shipped models",
            "options": [f"{name}={value}" for name, value in target.options],
            "timeout_s": target.timeout_s,
            "deadline_ms": target.deadline_ms,
            "seed": common.seed,
        }

    def _publish(self, summary: report.Summary, found: Mapping[str, float | None], samples: Sequence[Sample]) -> None:
        if self._common.as_json:
            print(report.to_json(summary, found))
        else:
            out_console.print(tables.to_terminal(summary, found))
        try:
            written = _write(self._common.out, summary, found, samples)
        except OSError as error:
            stop(f"cannot write results to {self._common.out}: {error.strerror or error}", code=1)
        error_console.print(f"wrote {', '.join(map(str, written))}")


def _write(
    out: Path, summary: report.Summary, found: Mapping[str, float | None], samples: Sequence[Sample]
) -> list[Path]:
    from loadtests import html_report, plot  # here because matplotlib takes a second to import

    paths = [out / f"{summary.scenario}.{ending}" for ending in ("json", "png", "html")]
    report.write_json(summary, found, paths[0])
    plot.write_plot(summary, samples, paths[1])
    sections = [
        html_report.settings_list(dict(summary.settings)),
        *map(html_report.paragraph, report.notes(summary)),
        *map(html_report.as_table, tables.tables(summary, found)),
        plot.to_svg(plot.run_figure(summary, samples)),
    ]
    html_report.write_html(paths[2], f"{summary.scenario}: {'passed' if summary.passed else 'FAILED'}", sections)
    return paths


@contextmanager
def _progress(traffic: Traffic) -> Iterator[driver.OnDone]:
    """A bar on a terminal, one plain line elsewhere."""
    line = f"{traffic.scenario}: {len(traffic.orders)} requests to {traffic.orders[0].target.endpoint}"
    if not error_console.is_terminal:
        error_console.print(line)
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=error_console, transient=True) as bar:
        task = bar.add_task(line, total=len(traffic.orders))
        yield lambda _: bar.advance(task)


def stop(reason: str, code: int) -> NoReturn:
    """End with one line on stderr."""
    error_console.print(f"error: {reason}", markup=False)
    raise typer.Exit(code)
