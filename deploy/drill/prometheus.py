"""A real Prometheus as a process of its own, and the questions asked of it."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

_START_S, _STOP_S, _POLL_S = 60.0, 30.0, 0.2


class NoPrometheus(Exception):
    """It is not installed, or did not start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a graph: times in Unix seconds, values beside them."""

    labels: dict[str, str]
    times_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one."""

    url: str

    def now(self, expression: str) -> list[Series]:
        """Raises ValueError with Prometheus' own words if it does not parse."""
        return [
            Series(row["metric"], (row["value"][0],), (float(row["value"][1]),))
            for row in self._ask("query", query=expression)
        ]

    def over(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """The same between two moments."""
        rows = self._ask("query_range", query=expression, start=start_s, end=end_s, step=step_s)
        return [
            Series(row["metric"], *zip(*((at, float(value)) for at, value in row["values"]), strict=True))
            for row in rows
        ]

    def fired_since(self, start_s: float) -> dict[str, float]:
        """Names of the alerts that have fired since then, and when each did first, in Unix seconds."""
        rows = self.over('min by (alertname) (ALERTS{alertstate="firing"})', start_s, time.time(), 1.0)
        return {row.labels["alertname"]: row.times_s[0] for row in rows}

    def pending_since(self, start_s: float) -> set[str]:
        """Names of the alerts that have waited since then for their condition to last."""
        rows = self.over('count by (alertname) (ALERTS{alertstate="pending"})', start_s, time.time(), 1.0)
        return {row.labels["alertname"] for row in rows}

    def rule_evaluations(self) -> int:
        """How often a rule has been evaluated, by Prometheus' own count."""
        said = httpx.get(f"{self.url}/metrics", timeout=30).text
        counts = re.findall(r"^prometheus_rule_evaluations_total\{.*\} (\S+)$", said, re.MULTILINE)
        return int(sum(float(count) for count in counts))

    def rule_errors(self) -> dict[str, str]:
        """What went wrong with rules when they were last evaluated, by the rule's name."""
        groups = httpx.get(f"{self.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {rule["name"]: rule["lastError"] for rule in rules if rule["health"] == "err"}

    def _ask(self, question: str, **parameters: str | float) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/api/v1/{question}", data=parameters, timeout=30).json()
        if answer["status"] != "success":
            raise ValueError(f"{answer['error']}: {parameters['query']}")
        rows: list[dict[str, Any]] = answer["data"]["result"]
        return rows


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_prometheus(
    folder: Path, targets: Sequence[str], rule_files: Sequence[Path], interval_s: int = 1, alertmanager_url: str = ""
) -> Iterator[Prometheus]:
    """
    Until the block ends, scrapes targets (host:port) as job rcnn in namespace drill and evaluates rules.

    Both every interval_s. folder is where it keeps its data; what fires is told to alertmanager_url, if there is one.
    Raises NoPrometheus.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        raise NoPrometheus("no prometheus on PATH: run make tools, or install Debian's package prometheus")
    port = free_port()
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump(_config(targets, rule_files, interval_s) | _alerting(alertmanager_url)))
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            prometheus = Prometheus(f"http://127.0.0.1:{port}")
            _wait_until_ready(prometheus, process, folder / "prometheus.log")
            yield prometheus
        finally:
            process.terminate()
            process.wait(timeout=_STOP_S)


def _config(targets: Sequence[str], rule_files: Sequence[Path], interval_s: int) -> dict[str, Any]:
    every = f"{interval_s}s"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(path.absolute()) for path in rule_files],
        "scrape_configs": [
            {"job_name": "rcnn", "static_configs": [{"targets": list(targets), "labels": {"namespace": "drill"}}]}
        ],
    }


def _alerting(alertmanager_url: str) -> dict[str, Any]:
    if not alertmanager_url:
        return {}
    targets = [alertmanager_url.removeprefix("http://")]
    return {"alerting": {"alertmanagers": [{"static_configs": [{"targets": targets}]}]}}


def _wait_until_ready(prometheus: Prometheus, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_s = time.monotonic() + _START_S
    while time.monotonic() < give_up_s and process.poll() is None:
        try:
            if httpx.get(f"{prometheus.url}/-/ready", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_S)
    raise NoPrometheus(f"prometheus did not start:\n{log.read_text()[-2000:]}")
