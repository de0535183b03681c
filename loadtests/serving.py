"""The real `rcnn serve` as a process of its own, on free loopback ports, for what brings its own service."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_S = 120.0
STOP_S = 60.0
POLL_S = 0.05


class ServiceDidNotStart(Exception):
    """With the last lines it wrote."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    url: str
    metrics_url: str
    pid: int

    def resident_mb(self) -> float:
        """Memory in use now (RSS), in millions of bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0

    def cpu_s(self) -> float:
        """Processor seconds spent so far, in all threads."""
        return cpu_s(self.pid)


def cpu_s(pid: int) -> float:
    """Processor seconds a process has spent so far, in all threads; 0 of one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(settings: Mapping[str, object]) -> Iterator[Service]:
    """
    Run `rcnn serve` with settings (names as in `rcnn serve --help`, without RCNN_) until the block ends.

    Raises ServiceDidNotStart. Log lines go to a file, as they go to a collector in a cluster: a pipe nobody reads would
    stop the service, and reading it would cost this process what it is there to measure.
    """
    ports = {f"RCNN_{door}_PORT": "0" for door in ("HTTP", "GRPC", "METRICS")}
    chosen = {f"RCNN_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "RCNN_HOST": "127.0.0.1", **ports, **chosen}
    with tempfile.NamedTemporaryFile("w+", prefix="rcnn-", suffix=".log") as log:
        process = subprocess.Popen([sys.executable, "-m", "service"], env=environment, stdout=log, stderr=log)
        try:
            ready = _wait_until_ready(process, Path(log.name))
            host = "http://127.0.0.1:"
            yield Service(f"{host}{ready['http_port']}", f"{host}{ready['metrics_port']}/metrics", process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=STOP_S)


@contextmanager
def serving_nothing() -> Iterator[str]:
    """The address of a server that answers everything at once: what is measured on it is the driver and the machine."""
    with _own_server("null_server") as url:
        yield url


@contextmanager
def serving_recorded(url: str) -> Iterator[str]:
    """The address of a server that answers as the one at url did the first time, at no cost to this machine."""
    with _own_server("recorded_server", url) as own_url:
        yield own_url


@contextmanager
def _own_server(module: str, *arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", f"loadtests.bench.{module}", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, int]:
    give_up_s = time.monotonic() + START_S
    while time.monotonic() < give_up_s and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"event": "ready"' in line:
                ready: dict[str, int] = json.loads(line)
                return ready
        time.sleep(POLL_S)
    raise ServiceDidNotStart("\n".join(log.read_text().splitlines()[-5:]))


@dataclass
class MemoryWatch:
    """Samples a service's memory while a block runs."""

    service: Service
    before_mb: float = 0.0
    peak_mb: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "MemoryWatch":
        self.before_mb = self.peak_mb = self.service.resident_mb()
        self._thread = threading.Thread(target=self._watch, name="memory watch")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.peak_mb = max(self.peak_mb, self.service.resident_mb())
