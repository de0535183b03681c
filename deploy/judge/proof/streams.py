"""What rival rules see of a real rollout: each minute's metrics of both arms, read off the servers' own counters."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deploy.judge.proof.processes import Samples, total
from deploy.judge.proof.rivals import Minutes

IMAGES_A_MINUTE = 60
_LATENCY = "rcnn_request_duration_seconds_bucket"


@dataclass(frozen=True)
class Arm:
    """One arm in one minute: share answered, 95th percentile in seconds, objects an image."""

    success: float
    latency_p95_s: float
    objects: float

    def row(self) -> dict[str, float]:
        return asdict(self)


def arm(before: Samples, after: Samples) -> Arm:
    """What a server counted between two looks at its metrics."""

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    asked = grown("rcnn_requests_total")
    answered = grown("rcnn_requests_total", outcome="ok")
    images = max(grown("rcnn_detections_per_image_count"), 1.0)
    edges = sorted({dict(labels)["le"] for name, labels in after if name == _LATENCY}, key=float)
    under = [grown(_LATENCY, le=edge) for edge in edges]
    objects = grown("rcnn_detections_per_image_sum") / images
    return Arm(answered / asked if asked else 1.0, _quantile(0.95, [float(e) for e in edges], under), objects)


def _quantile(rank: float, edges: Sequence[float], under: Sequence[float]) -> float:
    """As Prometheus' histogram_quantile: straight lines within buckets, the last finite edge beyond it."""
    if not under or not under[-1]:
        return 0.0
    place = next(i for i, count in enumerate(under) if count >= rank * under[-1])
    low, low_count = (edges[place - 1], under[place - 1]) if place else (0.0, 0.0)
    if math.isinf(edges[place]):
        return low
    share = (rank * under[-1] - low_count) / max(under[place] - low_count, 1e-9)
    return low + share * (edges[place] - low)


def minutes_of(rows: Sequence[dict[str, Any]]) -> Minutes:
    """One rollout's minutes as the rival rules read them: arrays (1, T)."""

    def both(name: str) -> tuple[Any, Any]:
        stable, candidate = (np.array([[row[side][name] for row in rows]], np.float64) for side in ("stable", "new"))
        return stable, candidate

    return Minutes(both("success"), both("latency_p95_s"), both("objects"))
