"""The stage of a drill: the service on fixed ports, so that it can fall and rise again, and Prometheus watching it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.alerts import objectives
from deploy.alerts.__main__ import render
from deploy.alerts.objectives import read_objectives
from deploy.alerts.rules import Clock
from deploy.drill.prometheus import Prometheus, free_port, running_prometheus

SPEEDUP = 60
"""An hour of the rules is a minute of a drill."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the service is to listen, what watches it, and a folder for what a drill makes."""

    http_port: int
    metrics_port: int
    prometheus: Prometheus
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def ports(self) -> dict[str, object]:
        """As settings of the service."""
        return {"http_port": self.http_port, "metrics_port": self.metrics_port}


@contextmanager
def stage() -> Iterator[Stage]:
    """Raises NoPrometheus."""
    with tempfile.TemporaryDirectory(prefix="rcnn-drill-") as name:
        folder = Path(name)
        rules = render(folder / "rules", read_objectives(objectives.COMMITTED), Clock(SPEEDUP))
        for path, text in rules.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        http_port, metrics_port = free_port(), free_port()
        with running_prometheus(folder, [f"127.0.0.1:{metrics_port}"], list(rules)) as prometheus:
            yield Stage(http_port, metrics_port, prometheus, folder)
