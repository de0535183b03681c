"""The worst disagreements of live traffic: samples the stable pods kept, both answers drawn side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploy.judge.exhibits import LIMITS, MOST_IMAGES, Exhibit, exhibit
from service.detections import Detections
from service.images import decode
from service.pairing import Pairing, pair
from service.sampling.redaction import unpack
from service.sampling.store import SampleStore
from service.shadow import read_answer


@dataclass(frozen=True)
class _Sample:
    name: str
    png: bytes
    stable: Detections
    candidate: Detections
    pairing: Pairing


def worst_samples(store: SampleStore, start_s: float) -> Iterator[Exhibit]:
    """
    Those taken since start_s (Unix seconds), most disagreement first; sealed ones the key does not open are left out.

    Without masks, and with what is redacted in them: samples hold no more.
    """
    found = [sample for name in store.names() if (sample := _read(store, name, start_s))]
    for each in sorted(found, key=lambda sample: -sample.pairing.disagreement)[:MOST_IMAGES]:
        yield exhibit(each.name, decode(each.png, LIMITS), each.stable, each.candidate, each.pairing)


def _read(store: SampleStore, name: str, start_s: float) -> _Sample | None:
    try:
        png, told = unpack(store.read(name))
    except (ValueError, OSError):
        return None
    if told.get("candidate_detections") is None or datetime.fromisoformat(told["taken_at"]).timestamp() < int(start_s):
        return None
    stable, candidate = (_answer(told, key) for key in ("detections", "candidate_detections"))
    return _Sample(name, png, stable, candidate, pair(stable, candidate, told["score_threshold"]))


def _answer(told: dict[str, Any], key: str) -> Detections:
    return read_answer({"image": told["image"], "detections": told[key]})
