"""Starts a server, ours or a peer's, with its engine; gone with all its processes when the block ends."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from loadtests import scrape
from loadtests.driver import Target
from loadtests.peers import counts, doors, environments
from loadtests.peers.catalogue import BY_NAME, OURS, Peer
from loadtests.peers.counts import Counts
from loadtests.peers.doors import Door
from loadtests.peers.environments import PeerUnavailable
from loadtests.peers.job import Job
from loadtests.pictures import Picture
from loadtests.run import drive
from loadtests.scenarios import closed
from loadtests.serving import ServiceDidNotStart, cpu_s, serving

START_S, STOP_S, POLL_S = 120.0, 20.0, 0.2
LINES_SHOWN = 3
RATIO_UNIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    door: Door
    url: str
    counted: Callable[[], Counts]
    """What its engine has run since the start."""
    processors_s: Callable[[], float]
    """Processor time that all its processes have spent since the start."""

    def target(self, timeout_s: float) -> Target:
        return self.door.target(self.url, timeout_s)


@contextmanager
def running(name: str, job: Job, first: Picture) -> Iterator[Server]:
    """Until the block ends. first: answered before the block begins. Raises environments.PeerUnavailable."""
    with tempfile.TemporaryDirectory(prefix="rcnn-peer-") as folder:
        job = replace(job, port=_free_port(), counts=str(Path(folder) / "counts"))
        start = _ours(job) if name == OURS else _theirs(BY_NAME[name], job, Path(folder) / "log", first)
        with start as server:
            yield server


@contextmanager
def _ours(job: Job) -> Iterator[Server]:
    """`rcnn serve` as anybody gets it: nothing is set but the model and what runs it."""
    settings: dict[str, object] = {"bundles": job.bundle, "engine": job.engine, "fake_engine_delay_ms": job.delay_ms}
    try:
        with serving(settings) as service:
            yield Server(doors.OWN, service.url, lambda: _scraped(service.metrics_url), service.cpu_s)
    except ServiceDidNotStart as error:
        raise PeerUnavailable(f"did not start: {error}") from error


@contextmanager
def _theirs(peer: Peer, job: Job, log: Path, first: Picture) -> Iterator[Server]:
    python = environments.ensure(peer)
    job = replace(job, mixing=peer.mixing[job.engine], window_ms=peer.window_ms)
    environment = environments.variables(peer, python) | job.to_environment()
    mark = job.counts.encode()  # in the environment of all that this server starts, and of nothing else
    counted, spent_s = partial(counts.read, Path(job.counts)), partial(_processors_s, mark)
    server = Server(peer.door, f"http://127.0.0.1:{job.port}", counted, spent_s)
    with log.open("wb") as lines:
        process = subprocess.Popen(
            peer.command(python, job),
            env=environment,
            cwd=environments.ROOT,
            stdout=lines,
            stderr=lines,
            start_new_session=True,  # a group of its own, to end all of it
        )
    try:
        _wait_until_it_answers(process, server, first, log)
        yield server
    finally:
        _end(process, mark)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", server: Server, first: Picture, log: Path) -> None:
    give_up_s = time.monotonic() + START_S
    ask = closed(server.target(timeout_s=10.0), [server.door.dressed(first)], 1, 1, seed=0)
    outcome = "nothing asked yet"
    while time.monotonic() < give_up_s and process.poll() is None:
        outcome = drive(ask, lambda _: None)[0].outcome
        if outcome == "200":
            return
        time.sleep(POLL_S)
    said = " | ".join(log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])
    raise PeerUnavailable(f"did not answer within {START_S:g} s ({outcome}): {said}")


def _end(process: "subprocess.Popen[bytes]", mark: bytes) -> None:
    """Politely, then not, with everything it started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in _started_with(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _started_with(mark: bytes) -> list[int]:
    """Ray's processes leave their group and may outlive it: they are known by what they were given."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # gone, or another user's
                if mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


def _processors_s(mark: bytes) -> float:
    return sum(cpu_s(pid) for pid in _started_with(mark))


def _scraped(metrics_url: str) -> Counts:
    """Our own metrics in a peer's terms. Padding is told as a ratio by batch, so every batch counts alike."""
    series = scrape.scrape(metrics_url)
    calls = round(scrape.total(series, "rcnn_batch_size_count"))
    padding = scrape.total(series, "rcnn_batch_padding_ratio_sum")
    images = round(scrape.total(series, "rcnn_batch_size_sum"))
    return Counts(calls, images, round((calls - padding) * RATIO_UNIT), calls * RATIO_UNIT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
