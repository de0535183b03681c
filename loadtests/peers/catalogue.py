"""The servers compared: how each is started, asked, and set up. docs/peers.md gives the reasons for the settings."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.peers import doors
from loadtests.peers.doors import Door
from loadtests.peers.job import Job, Mixing

INSIDE = "deploy.peers"
OURS = "rcnn"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another serving system around the same model."""

    name: str
    title: str
    distribution: str
    """As PyPI calls it."""
    door: Door
    command: Callable[[Path, Job], list[str]]
    """(its environment's python, job) -> what starts it."""
    mixing: Mapping[str, Mixing] = field(default_factory=lambda: {"fake": "pad", "onnx": "group"})
    """By engine: a call of a fixed price is worth padding for, a CPU that pays by the pixel is not."""
    window_ms: float = 10.0
    environment: Mapping[str, str] = field(default_factory=dict)


def _module(name: str) -> Callable[[Path, Job], list[str]]:
    return lambda python, job: [str(python), "-m", f"{INSIDE}.{name}"]


def _bentoml(python: Path, job: Job) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(job.port)]
    return [str(python.with_name("bentoml")), "serve", f"{INSIDE}.with_bentoml:Detect", *options]


PEERS = (
    Peer(
        "triton",
        "Triton (PyTriton)",
        "nvidia-pytriton",
        doors.V2_BINARY,
        _module("with_triton"),
        window_ms=0.0,
        # Its stub process would else load the system's libpython.
        environment={"LD_LIBRARY_PATH": str(Path(sys.base_prefix) / "lib")},
    ),
    Peer("litserve", "LitServe", "litserve", doors.JSON_IMAGE, _module("with_litserve")),
    Peer(
        "bentoml",
        "BentoML",
        "bentoml",
        doors.JSON_IMAGES,
        _bentoml,
        environment={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer(
        "ray",
        "Ray Serve",
        "ray",
        doors.RAW,
        _module("with_ray"),
        environment={"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
    ),
    Peer("mlserver", "MLServer", "mlserver", doors.V2, _module("with_mlserver"), window_ms=20.0),
)
BY_NAME = {peer.name: peer for peer in PEERS}
NAMES = (OURS, *BY_NAME)
TITLES = {OURS: "rcnn"} | {peer.name: peer.title for peer in PEERS}
