"""The processes of a real rollout: servers, a Prometheus that scrapes them, and what they count."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

_END_S = 60.0
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Process:
    """Stopped by SIGTERM at the end of a with block."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log.open("w")
        self.process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=self._log, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=_END_S)
        self._log.close()


class Server(Process):
    """`rcnn serve`, or with faults a server that has them; ready when made."""

    def __init__(self, environment: Mapping[str, str], log: Path, port: int | None = None) -> None:
        self.port, self.metrics_port = port or free_port(), free_port()
        ports = {"HTTP": self.port, "GRPC": free_port(), "METRICS": self.metrics_port}
        own = {f"RCNN_{door}_PORT": str(number) for door, number in ports.items()}
        module = "deploy.judge.proof.faulty" if "PROOF_FAULTS" in environment else "service"
        super().__init__([sys.executable, "-m", module], {**own, "RCNN_HOST": "127.0.0.1", **environment}, log)
        self.url, self.metrics_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.metrics_port}/metrics"
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        pause = threading.Event()
        while not pause.wait(0.1):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended before it was ready: {self._log.name}")
            try:
                if httpx.get(f"{self.url}/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                continue

    def samples(self) -> Samples:
        """Everything it has counted until now."""
        text = httpx.get(self.metrics_url, timeout=_END_S).text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class RunningPrometheus(Process):
    """A real one that scrapes servers on loopback every second. Raises FileNotFoundError where there is none."""

    def __init__(self, folder: Path, targets: Sequence[int]) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise FileNotFoundError("no Prometheus: make tools")
        port = free_port()
        pods = [{"targets": [f"127.0.0.1:{target}" for target in targets]}]
        jobs = [{"job_name": "rcnn", "static_configs": pods}]
        document = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(json.dumps(document))  # JSON is YAML
        flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        address = f"127.0.0.1:{port}"
        super().__init__([program, *flags, f"--web.listen-address={address}"], {}, folder / "prometheus.log")
        self.url = f"http://{address}"


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a family's samples that carry these labels."""
    wanted = set(labels.items())
    return sum(value for (family, found), value in samples.items() if family == name and wanted <= found)
