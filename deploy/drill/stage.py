"""The stage of a drill: the service on fixed ports, so that it can fall and rise again, and what watches it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.alerts.__main__ import render
from deploy.alerts.objectives import COMMITTED, Objectives, read_objectives
from deploy.alerts.rules import Clock
from deploy.drill.alertmanager import Alertmanager, running_alertmanager
from deploy.drill.prometheus import Prometheus, free_port, running_prometheus

SPEEDUP = 60
"""An hour of the rules is a minute of a drill."""

_SCRAPE_S = 15  # as the chart's monitor asks for


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the service is to listen, what watches it, and a folder for what a drill makes."""

    http_port: int
    metrics_port: int
    prometheus: Prometheus
    alertmanager: Alertmanager
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def ports(self) -> dict[str, object]:
        """As settings of the service."""
        return {"http_port": self.http_port, "metrics_port": self.metrics_port}


@contextmanager
def stage(speedup: int = SPEEDUP, promised: Objectives | None = None, beside: Sequence[int] = ()) -> Iterator[Stage]:
    """
    beside: more loopback ports to scrape.

    Rules for what is promised (unless said otherwise what the chart's rules promise), run `speedup` times as fast.

    Raises NoPrometheus, NoAlertmanager.
    """
    with tempfile.TemporaryDirectory(prefix="rcnn-drill-") as name:
        folder = Path(name)
        rules = render(folder / "rules", promised or read_objectives(COMMITTED), Clock(speedup))
        for path, text in rules.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        http_port, metrics_port = free_port(), free_port()
        targets, every_s = [f"127.0.0.1:{port}" for port in (metrics_port, *beside)], max(1, _SCRAPE_S // speedup)
        with (
            running_alertmanager(folder, speedup) as manager,
            running_prometheus(folder, targets, list(rules), every_s, manager.url) as prometheus,
        ):
            yield Stage(http_port, metrics_port, prometheus, manager, folder)
