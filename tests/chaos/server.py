"""The real `rcnn serve` on ports that stay the same when it is killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import httpx

from tests.ports import free_port

START_S = 120.0


class Server:
    """One replica. Log lines go to a file."""

    def __init__(
        self,
        settings: Mapping[str, object],
        log: Path,
        host: str = "127.0.0.1",
        prefix: tuple[str, ...] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.host, self.port, self.metrics_port, self.grpc_port = host, free_port(), free_port(), free_port()
        ports = {"HOST": host, "HTTP_PORT": self.port, "GRPC_PORT": self.grpc_port, "METRICS_PORT": self.metrics_port}
        chosen = {f"RCNN_{name.upper()}": str(value) for name, value in {**ports, **settings}.items()}
        self._environment, self._log = {**os.environ, **chosen, **environment}, log
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix = prefix  # such as ip netns exec

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Returns once it is ready."""
        with self._log.open("ab") as log:
            command = [*self.prefix, sys.executable, "-m", "service"]
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(60)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            self.wait()

    def resident_mb(self) -> float:
        """Memory in use now (RSS), in millions of bytes."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0

    def requests_by_outcome(self) -> dict[str, float]:
        """rcnn_requests_total by outcome, over everything else."""
        counted: dict[str, float] = {}
        for line in httpx.get(f"http://{self.host}:{self.metrics_port}/metrics", timeout=10).text.splitlines():
            if line.startswith("rcnn_requests_total{"):
                outcome = line.split('outcome="')[1].split('"')[0]
                counted[outcome] = counted.get(outcome, 0.0) + float(line.split()[-1])
        return counted
