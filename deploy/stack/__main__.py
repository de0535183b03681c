"""
Run the service, a Prometheus that scrapes it, Grafana where it is installed, and a little traffic, until Ctrl-C.

    make stack
"""

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from deploy.stack.configuration import grafana_files, prometheus_file

ZOO = Path("model/zoo")
_READY_S = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        print("make stack: no prometheus; make tools brings it on Debian, https://prometheus.io/download elsewhere")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running, suppress(KeyboardInterrupt):
        run(options, prometheus, Path(folder), running)
    return 0


def run(options: argparse.Namespace, prometheus: str, folder: Path, running: ExitStack) -> None:
    """Start everything, in order, and send traffic until interrupted."""
    url, scraped = f"http://127.0.0.1:{options.port}", f"http://127.0.0.1:{options.prometheus_port}"
    running.enter_context(_process([sys.executable, "-m", "service"], folder / "service.log", _environment(options)))
    prometheus_file(folder / "prometheus.yml", options.port + 2, options.prometheus_port)
    command = [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    command.append(f"--web.listen-address=127.0.0.1:{options.prometheus_port}")
    running.enter_context(_process(command, folder / "prometheus.log"))
    _wait(f"{url}/readyz")
    _wait(f"{scraped}/-/ready")
    print(f"service     {url}  (page, /docs), metrics on :{options.port + 2}")
    print(f"prometheus  {scraped}/graph?g0.expr=rate(rcnn_requests_total[1m])&g0.tab=0")
    _start_grafana(folder, options, running)
    print(f"traffic     {options.rate:g} images a second; Ctrl-C ends everything", flush=True)
    send(url, options.rate)


def send(url: str, rate_per_s: float) -> None:
    """Golden images of the shipped models in turn, forever."""
    pictures = [path for path in sorted(ZOO.glob("*/*/golden/*")) if path.suffix != ".json"]
    with httpx.Client(base_url=url, timeout=30) as client:
        for path in itertools.cycle(pictures):
            model = path.relative_to(ZOO).parts[0]
            with suppress(httpx.TransportError):
                client.post(f"/v1/models/{model}/detect", content=path.read_bytes(), headers={"X-Source": "stack"})
            time.sleep(1 / rate_per_s)


def _start_grafana(folder: Path, options: argparse.Namespace, running: ExitStack) -> None:
    grafana = shutil.which("grafana-server") or shutil.which("grafana")
    if grafana is None:
        print("grafana     not installed; its dashboards are in helm/rcnn/dashboards")
        return
    settings = grafana_files(folder / "grafana", options.prometheus_port, options.grafana_port)
    home = os.environ.get("GF_PATHS_HOME", "/usr/share/grafana")
    command = [grafana, *(["server"] if grafana.endswith("grafana") else []), "--homepath", home]
    running.enter_context(_process(command, folder / "grafana.log", {**os.environ, **settings}))
    print(f"grafana     http://127.0.0.1:{options.grafana_port}")


def _environment(options: argparse.Namespace) -> dict[str, str]:
    ports = {"HTTP": options.port, "GRPC": options.port + 1, "METRICS": options.port + 2}
    return {**os.environ, "RCNN_HOST": "127.0.0.1", **{f"RCNN_{door}_PORT": str(port) for door, port in ports.items()}}


@contextmanager
def _process(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A process of ours until the end of the block, in a group of its own: Ctrl-C reaches it through us alone."""
    with log.open("w") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written, env=environment, start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def _wait(url: str) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(url).is_success:
                return
        time.sleep(0.2)
    raise SystemExit(f"make stack: {url} does not answer")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="HTTP; gRPC and metrics on the next two (%(default)s)")
    parser.add_argument("--prometheus-port", type=int, default=9090, help="(%(default)s)")
    parser.add_argument("--grafana-port", type=int, default=3000, help="where Grafana is installed (%(default)s)")
    parser.add_argument("--rate", type=float, default=2.0, help="images a second (%(default)s)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
