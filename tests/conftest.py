"""Bundles and servers the tests share."""

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import structlog
from hypothesis import settings
from PIL import Image

from service.bundle import Bundle, write_bundle
from tests.discretion import leaks
from tests.patience import PATIENCE_S

ZOO = Path(__file__).parent.parent / "model" / "zoo"
settings.register_profile("untimed", deadline=None)  # how long an example takes is for the benchmarks to say
settings.load_profile("untimed")
_START_S = 120.0

MANIFEST: dict[str, Any] = {
    "name": "toy",
    "version": "1",
    "task": "segmentation",
    "architecture": "none",
    "labels": ["thing", "other"],
    "preprocess": {
        "resize": "fit",
        "min_size": 64,
        "max_size": 128,
        "canvas_grid": [[64, 128], [128, 64], [128, 128], [64, 64]],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    },
    "postprocess": {"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 100},
    "provenance": {},
}


@dataclass(frozen=True)
class Served:
    """A running server process."""

    http_url: str
    grpc_address: str
    metrics_url: str
    process: "subprocess.Popen[str]"
    log: list[str]  # grows as the server writes


@pytest.fixture(scope="module", autouse=True)
def own_logs() -> Iterator[None]:
    """Commands called in this process set up logging as for one of their own, on a stream that ends with the call."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session", autouse=True)
def patient_callers() -> None:
    """Where a test says nothing else, httpx would wait for 5 s: a machine that runs tests may be busy for longer."""
    silence = inspect.signature(httpx.request).parameters["timeout"].default  # one object for all that httpx offers
    silence.connect = silence.read = silence.write = silence.pool = PATIENCE_S


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle for the fake engine: everything but a model."""
    root = tmp_path_factory.mktemp("bundles") / "toy"
    root.mkdir()
    for name in ("detector.onnx", "mask_head.onnx"):
        (root / name).write_bytes(b"not a model: the fake engine needs none")
    return write_bundle(root, MANIFEST)


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Make an encoded image: picture(width, height, level=brightness, format="PNG")."""
    return encode_picture


def encode_picture(width: int, height: int, level: int = 128, format: str = "PNG") -> bytes:
    import io

    body = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), level, np.uint8)).save(body, format)
    return body.getvalue()


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The shipped models behind every door, as `rcnn serve` starts them."""
    patience = {"RCNN_DEFAULT_TIMEOUT_MS": "60000"}  # a machine that runs tests may be busy with others
    with run_server(patience) as server:
        yield server


@pytest.fixture(scope="session")
def fake_served(toy_bundle: Bundle) -> Iterator[Served]:
    """The fake engine, 20 ms a batch, behind every door."""
    with run_server({"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root)}) as server:
        yield server


class run_server:
    """A server process on free loopback ports, stopped by SIGTERM at the end; its log must not tell too much."""

    def __init__(self, environment: dict[str, str]) -> None:
        ports = {f"RCNN_{door}_PORT": "0" for door in ("HTTP", "GRPC", "METRICS")}
        self._environment = {**os.environ, "RCNN_HOST": "127.0.0.1", **ports, **environment}

    def __enter__(self) -> Served:
        command = [sys.executable, "-m", "service"]
        self._process = subprocess.Popen(command, env=self._environment, stderr=subprocess.PIPE, text=True)
        ready = self._wait_until_ready()
        return Served(
            f"http://127.0.0.1:{ready['http_port']}",
            f"127.0.0.1:{ready['grpc_port']}",
            f"http://127.0.0.1:{ready['metrics_port']}",
            self._process,
            self._log,
        )

    def _wait_until_ready(self) -> dict[str, Any]:
        assert self._process.stderr is not None
        self._log: list[str] = []
        for line in self._process.stderr:
            self._log.append(line)
            if '"event": "ready"' in line:
                # A full pipe would stop the server at its next log line.
                self._drain = threading.Thread(target=self._log.extend, args=(self._process.stderr,))
                self._drain.start()
                ready: dict[str, Any] = json.loads(line)
                return ready
        raise AssertionError(f"the server ended before it was ready:\n{''.join(self._log)}")

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=_START_S)
        self._drain.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        given = [value for name, value in self._environment.items() if name.startswith("RCNN_")]
        told = leaks("".join(self._log), [value for value in given if value.startswith("/") and len(value) > 1])
        assert told == [], "\n".join(told)
