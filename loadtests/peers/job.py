"""What a server is to do, handed to the processes of a peer in one environment variable. Standard library only."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Literal

VARIABLE = "RCNN_PEER_JOB"

Engine = Literal["fake", "onnx"]
Mixing = Literal["pad", "group"]


@dataclass(frozen=True, slots=True)
class Job:
    """The work, the same for every peer, and how one may batch it."""

    bundle: str
    engine: Engine
    delay_ms: float
    """Of the fake engine, for each batch."""
    max_batch_size: int
    port: int
    counts: str
    """File in which the peer counts its engine's batches."""
    mixing: Mixing = "group"
    """What happens to canvases of several shapes in one batch: one engine call on the smallest that holds all of them
    (pad), or one call a shape (group)."""
    window_ms: float = 10.0
    """How long a batch waits for company."""

    def to_environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


def from_environment() -> Job:
    """The job this process was started for. Raises KeyError where it was not."""
    return Job(**json.loads(os.environ[VARIABLE]))
