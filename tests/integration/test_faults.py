"""Faults that are really caused: what the callers hear, what the probes say, and that everything comes back."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree

import httpx
import pytest

from service.bundle import Bundle
from tests.conftest import ZOO, Served, encode_picture, run_server
from tests.hanging import hanging
from tests.integration.test_lifecycle import rcnn
from tests.patience import PATIENCE_S, eventually
from tests.ports import free_port

PICTURE = encode_picture(64, 64)


class Faulty:
    """A server whose fake engine has the fault written in a file."""

    def __init__(self, server: Served, fault: Path) -> None:
        self.server, self._fault = server, fault

    def have(self, fault: str) -> None:
        self._fault.write_text(fault)

    def ask(self, timeout_ms: int = 10_000) -> httpx.Response:
        headers = {"X-Request-Timeout-Ms": str(timeout_ms)}
        return httpx.post(f"{self.server.http_url}/v1/detect", content=PICTURE, headers=headers, timeout=30)

    def probes(self) -> tuple[int, int]:
        """Liveness and readiness."""
        return tuple(httpx.get(f"{self.server.http_url}/{path}").status_code for path in ("livez", "readyz"))  # type: ignore[return-value]

    def metric(self, line: str) -> float:
        text = httpx.get(f"{self.server.metrics_url}/metrics").text
        return next((float(row.split()[-1]) for row in text.splitlines() if row.startswith(line)), 0.0)


@pytest.fixture(scope="module")
def faulty(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """One server for faults that pass."""
    yield from faulty_server(toy_bundle, tmp_path_factory.mktemp("fault") / "fault")


@pytest.fixture
def doomed(toy_bundle: Bundle, tmp_path: Path) -> Iterator[Faulty]:
    """A server of the test's own."""
    yield from faulty_server(toy_bundle, tmp_path / "fault")


@pytest.fixture
def patient(toy_bundle: Bundle, tmp_path: Path) -> Iterator[Faulty]:
    """The same, but a batch that takes a second on a busy machine does not count as hanging."""
    yield from faulty_server(toy_bundle, tmp_path / "fault", hang_s=60)


def faulty_server(toy_bundle: Bundle, fault: Path, hang_s: int = 1) -> Iterator[Faulty]:
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_FAKE_ENGINE_FAULT_FILE": str(fault),
        "RCNN_ENGINE_HANG_S": str(hang_s),
        "RCNN_DRAIN_TIMEOUT_S": "2",
    }
    with run_server(environment) as server:
        yield Faulty(server, fault)


def test_a_hanging_engine_fails_both_probes_until_it_goes_on(faulty: Faulty) -> None:
    """Its callers get their deadline, newcomers 503; when it goes on, so does everything."""
    faulty.have("hang")
    assert (waited := faulty.ask(2_000)).status_code == 504 and waited.json()["code"] == "deadline_exceeded"
    eventually(lambda: faulty.ask(2_000).status_code == 503)  # on a busy machine the first may not reach the engine
    eventually(lambda: faulty.probes() == (503, 503))
    assert (refused := faulty.ask()).status_code == 503 and "stalled" in refused.json()["detail"]
    faulty.have("")
    eventually(lambda: faulty.probes() == (200, 200))
    assert faulty.ask().status_code == 200


def test_a_hanging_engine_does_not_keep_the_process_from_ending(doomed: Faulty) -> None:
    """Nobody is left waiting for an answer: exit 0, within the drain's budget and a moment to close the engine."""
    doomed.have("hang")
    assert doomed.ask(2_000).status_code == 504
    doomed.server.process.send_signal(signal.SIGTERM)
    assert doomed.server.process.wait(PATIENCE_S) == 0


def test_an_engine_that_fails_on_everything_is_not_alive(faulty: Faulty) -> None:
    """A few failures are answered as ours, 500; when an empty picture fails too, the pod asks to be restarted."""
    faulty.have("raise")
    assert [faulty.ask().json()["code"] for _ in range(3)] == ["engine_failed"] * 3
    eventually(lambda: faulty.probes() == (503, 503))
    faulty.have("")
    eventually(lambda: faulty.probes() == (200, 200))
    assert faulty.ask().status_code == 200


def test_an_engine_short_of_memory_runs_smaller_batches(patient: Faulty) -> None:
    """
    More than two images at once are too many: everybody is answered all the same. None at all: shed, by reason.

    On a server of its own: one that hung a moment ago expects the next batch to take as long, and refuses a crowd.
    """
    patient.have("memory 2")
    with ThreadPoolExecutor(16) as callers:
        assert [answer.status_code for answer in callers.map(lambda _: patient.ask(), range(48))] == [200] * 48
    patient.have("memory 0")
    assert patient.ask().status_code == 429
    assert patient.metric('rcnn_shed_total{reason="engine_memory"}') == 1
    patient.have("")
    assert patient.ask().status_code == 200


def test_an_engine_that_ends_the_process_is_seen_at_once(doomed: Faulty) -> None:
    """As a segfault would: the connection breaks, the exit status names the signal, the port is free again."""
    doomed.have("abort")
    with pytest.raises(httpx.TransportError):
        doomed.ask()
    assert doomed.server.process.wait(PATIENCE_S) == -signal.SIGABRT


def test_a_second_signal_hurries(toy_bundle: Bundle, tmp_path: Path) -> None:
    """With an answer minutes away, the process ends at once, and its exit code says that somebody was left."""
    fault, minutes = tmp_path / "fault", {"RCNN_DEFAULT_TIMEOUT_MS": "600000", "RCNN_DRAIN_TIMEOUT_S": "600"}
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), **minutes}
    with (
        run_server(environment | {"RCNN_FAKE_ENGINE_FAULT_FILE": str(fault)}) as server,
        ThreadPoolExecutor(1) as callers,
        hanging(fault),
    ):
        left = callers.submit(httpx.post, f"{server.http_url}/v1/detect", content=PICTURE, timeout=600)
        eventually(lambda: "rcnn_in_flight_requests 1.0" in httpx.get(f"{server.metrics_url}/metrics").text)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: any('"draining"' in line for line in list(server.log)))  # else the second may be lost in it
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 1
        assert isinstance(left.exception(), httpx.TransportError)


def test_a_signal_while_loading_is_obeyed() -> None:
    """The doors answer before the models are loaded; who is told to stop then stops, with 0."""
    port = str(free_port())
    ports = ["--http-port", port, "--grpc-port", "0", "--metrics-port", "0", "--engine-cache", ""]
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", *ports]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/startupz"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code in (200, 503)
    except httpx.TransportError:
        return False


def _truncated(bundle: Path) -> str:
    graph = bundle / "1" / "detector.onnx"
    graph.write_bytes(graph.read_bytes()[:10_000])
    return "the manifest says"


def _missing(bundle: Path) -> str:
    (bundle / "1" / "detector.onnx").unlink()
    return "is listed but missing"


def _unreadable_manifest(bundle: Path) -> str:
    (bundle / "1" / "manifest.json").write_text("{")
    return "does not hold"


@pytest.mark.parametrize("damage", [_truncated, _missing, _unreadable_manifest])
def test_a_damaged_bundle_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], str]) -> None:
    """Exit 1 before anything is served."""
    bundle = copytree(ZOO / "blood-cells", tmp_path / "blood-cells")
    words = damage(bundle)
    assert words in the_line_of(rcnn("serve", RCNN_BUNDLES=str(bundle), **_PORTS))


def test_a_graph_no_engine_reads_is_one_clear_line(toy_bundle: Bundle) -> None:
    """Its checksum holds, but it is no model."""
    ended = rcnn("serve", "--engine", "onnx", RCNN_BUNDLES=str(toy_bundle.root), **_PORTS)
    assert f"{toy_bundle.root}/detector.onnx is no ONNX graph" in the_line_of(ended)


def test_a_gpu_engine_without_its_packages_is_one_clear_line() -> None:
    """TensorRT was asked for by name: nothing else is served instead."""
    ended = rcnn("serve", "--engine", "tensorrt", RCNN_BUNDLES=str(ZOO / "blood-cells"), **_PORTS)
    assert "engine tensorrt: " in the_line_of(ended) or "engine tensorrt cannot load" in the_line_of(ended)


_PORTS = {"RCNN_HOST": "127.0.0.1", "RCNN_HTTP_PORT": "0", "RCNN_GRPC_PORT": "0", "RCNN_METRICS_PORT": "0"}


def the_line_of(ended: "subprocess.CompletedProcess[str]") -> str:
    """The one line that is not a log line."""
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert ended.returncode == 1 and line.startswith("rcnn: ")
    return line
