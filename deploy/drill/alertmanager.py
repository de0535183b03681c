"""A real Alertmanager with the example's routes, and whoever it tells: receivers that write down what came and when."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.alerts.rules import duration_s
from deploy.drill.prometheus import free_port

EXAMPLE = Path(__file__).parents[1] / "alerts/alertmanager.yaml"

_START_S, _STOP_S, _POLL_S = 60.0, 30.0, 0.1
_WAITS = ("group_wait", "group_interval", "repeat_interval")


class NoAlertmanager(Exception):
    """It is not installed, or did not start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message: who got it, when (Unix seconds), and the labels of the alerts in it that were firing."""

    receiver: str
    at_s: float
    firing: tuple[dict[str, str], ...]

    @property
    def names(self) -> set[str]:
        return {labels["alertname"] for labels in self.firing}


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """A running one, and what it has sent so far."""

    url: str
    notifications: list[Notification] = field(default_factory=list)

    def raise_alerts(self, alerts: Sequence[dict[str, str]]) -> None:
        """Hand it alerts by their labels, as Prometheus does."""
        body = [{"labels": labels} for labels in alerts]
        httpx.post(f"{self.url}/api/v2/alerts", json=body, timeout=30).raise_for_status()

    def told_of(self, alert: str) -> Notification | None:
        """The first message that said so."""
        return next((sent for sent in list(self.notifications) if alert in sent.names), None)


@contextmanager
def running_alertmanager(folder: Path, speedup: int) -> Iterator[Alertmanager]:
    """
    Routes, groups and inhibits as EXAMPLE says, `speedup` times as fast, to receivers here, until the block ends.

    folder is where it keeps its data. Raises NoAlertmanager.
    """
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        raise NoAlertmanager("no alertmanager on PATH: run make tools, or install Debian's prometheus-alertmanager")
    manager = Alertmanager(f"http://127.0.0.1:{free_port()}")
    with _receivers(manager.notifications) as receivers_url:
        config = folder / "alertmanager.yaml"
        config.write_text(yaml.safe_dump(_here(yaml.safe_load(EXAMPLE.read_text()), receivers_url, speedup)))
        command = [binary, f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}", "--log.level=warn"]
        command += [f"--web.listen-address={manager.url.removeprefix('http://')}", "--cluster.listen-address="]
        log_file = folder / "alertmanager.log"
        with log_file.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _wait_until_ready(manager.url, process, log_file)
                yield manager
            finally:
                process.terminate()
                process.wait(timeout=_STOP_S)


def _here(config: dict[str, Any], receivers_url: str, speedup: int) -> dict[str, Any]:
    """The example with its receivers replaced by ours, named in the path, and its waits shortened."""
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{receivers_url}/{receiver['name']}", "send_resolved": False}]
    for route in (config["route"], *config["route"]["routes"]):
        for wait in _WAITS:
            if wait in route:
                route[wait] = f"{duration_s(route[wait]) * 1000 // speedup}ms"
    return config


@contextmanager
def _receivers(received: list[Notification]) -> Iterator[str]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at_s = time.time()
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            firing = tuple(alert["labels"] for alert in message["alerts"] if alert["status"] == "firing")
            received.append(Notification(self.path.strip("/"), at_s, firing))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """What came is written down."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, name="alert receivers")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_s = time.monotonic() + _START_S
    while time.monotonic() < give_up_s and process.poll() is None:
        try:
            if httpx.get(f"{url}/-/ready", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_S)
    raise NoAlertmanager(f"alertmanager did not start:\n{log.read_text()[-2000:]}")
