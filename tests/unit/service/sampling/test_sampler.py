"""Exchanges on their way to the store: never waited for, whatever the store does."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from service.detections import Answer, Detections, DetectOptions, ModelId, Timings
from service.images import Limits
from service.pairing import CANDIDATE_FAILED, Pairing
from service.sampling.choosing import Plan
from service.sampling.redaction import unpack
from service.sampling.sampler import Sampler
from service.sampling.store import SampleStore
from service.sources import come_from
from service.tracing import Trace, current_trace
from tests.conftest import encode_picture
from tests.patience import eventually

IMAGE = encode_picture(64, 48)
OWN = DetectOptions()
EVERY = Plan(per_minute=1_000, random_share=1.0, near_threshold=0.05)
_PATIENCE_S = 60.0


class Noted:
    def __init__(self) -> None:
        self.kept, self.dropped = Counter[str](), Counter[str]()

    def sample_kept(self, reason: str) -> None:
        self.kept[reason] += 1

    def sample_dropped(self, reason: str) -> None:
        self.dropped[reason] += 1

    def samples_changed(self, kept: int, used_bytes: int) -> None:
        self.there = kept, used_bytes


class Stubborn(LocalFileSystem):
    """A store that takes no file until it is told to."""

    protocol = "stubborn"
    may_write = threading.Event()

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        self.may_write.wait(_PATIENCE_S)
        super().pipe_file(path, value, mode, **more)


class Broken(LocalFileSystem):
    """A store that answers with an error of its own kind, as cloud clients do."""

    protocol = "broken"
    is_broken = True

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        if self.is_broken:
            raise RuntimeError("no such bucket")
        super().pipe_file(path, value, mode, **more)


fsspec.register_implementation("stubborn", Stubborn, clobber=True)
fsspec.register_implementation("broken", Broken, clobber=True)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., tuple[Sampler, SampleStore, Noted]]]:
    """A sampler that keeps everything in tmp_path/kept; protocol: through which store."""
    running = list[Sampler]()

    def start(
        plan: Plan = EVERY, protocol: str = "file", max_bytes: int = 10**7, ttl_s: float = 3600, drifted: bool = False
    ) -> tuple[Sampler, SampleStore, Noted]:
        store, noted = SampleStore(f"{protocol}://{tmp_path / 'kept'}", None, max_bytes, ttl_s), Noted()
        limits = Limits(10**7, 10**7)
        sampler = Sampler(plan, store, limits, noted, lambda *_: drifted, draw=lambda: 0.5, sweep_s=min(ttl_s, 60))
        sampler.start()
        running.append(sampler)
        return sampler, store, noted

    yield start
    Stubborn.may_write.set()
    for sampler in running:
        sampler.close()


def answered(score: float | None = 0.9, from_cache: bool | None = None) -> Answer:
    scores = np.array([] if score is None else [score], np.float32)
    boxes = np.tile(np.array([8, 8, 32, 32], np.float32), (len(scores), 1))
    found = Detections((48, 64), boxes, scores, np.ones(len(scores), np.int64), ("thing",) * len(scores))
    return Answer(ModelId("toy", "1", "sha256:0"), found, Timings({}, 0.01, from_cache=from_cache))


def test_a_sample_says_why_it_was_kept_and_where_it_came_from(started: Callable[..., Any]) -> None:
    sampler, store, noted = started(drifted=True)
    come_from("camera-7")
    token = current_trace.set(Trace("ab" * 16, "cd" * 8, None, sampled=True))
    sampler.exchanged(IMAGE, OWN, 0.5, answered(0.51))
    current_trace.reset(token), come_from(None)
    eventually(lambda: noted.kept["drifted"] == 1)
    _, described = unpack(store.read(store.names()[0]))
    assert described["reasons"] == ["drifted", "near_threshold", "random"]
    assert (described["source"], described["trace_id"]) == ("camera-7", "ab" * 16)
    assert noted.there == (1, store.used_bytes)


def test_a_candidate_that_disagrees_makes_a_sample_and_one_that_agrees_or_fails_none(
    started: Callable[..., Any],
) -> None:
    sampler, store, noted = started(Plan(1_000, 0, 0))
    for pairing in (Pairing("agree", 0.0), CANDIDATE_FAILED, Pairing("missed", 1.0)):
        sampler.paired(IMAGE, OWN, 0.5, answered(), answered().detections, pairing)
    eventually(lambda: noted.kept["disagreement"] == 1)
    (name,) = store.names()
    assert unpack(store.read(name))[1]["candidate_outcome"] == "missed"


def test_pixels_without_a_file_are_kept_too_and_kept_answers_are_not_looked_at_twice(
    started: Callable[..., Any],
) -> None:
    sampler, store, noted = started()
    sampler.exchanged(IMAGE, OWN, 0.5, answered(from_cache=True))
    sampler.exchanged(np.full((48, 64, 3), 7, np.uint8), OWN, 0.5, answered(from_cache=False))
    eventually(lambda: noted.kept["random"] == 1)
    assert len(store.names()) == 1


def test_a_store_that_hangs_delays_nobody_and_what_cannot_wait_is_dropped(started: Callable[..., Any]) -> None:
    """200 exchanges return while not one can be written; memory holds no more than was said."""
    Stubborn.may_write.clear()
    sampler, store, noted = started(Plan(1_000, 1.0, 0, queue_bytes=4 * len(IMAGE)), "stubborn")
    for _ in range(200):
        sampler.exchanged(IMAGE, OWN, 0.5, answered())
    assert store.names() == [] and noted.dropped["queue_full"] == 196
    Stubborn.may_write.set()
    eventually(lambda: noted.kept["random"] == 4)
    sampler.exchanged(IMAGE, OWN, 0.5, answered())
    eventually(lambda: noted.kept["random"] == 5)


def test_a_store_that_fails_is_counted_and_used_again_once_it_works(started: Callable[..., Any]) -> None:
    Broken.is_broken = True
    sampler, store, noted = started(protocol="broken")
    for _ in range(3):
        sampler.exchanged(IMAGE, OWN, 0.5, answered())
    eventually(lambda: noted.dropped["store"] == 3)
    Broken.is_broken = False
    sampler.exchanged(IMAGE, OWN, 0.5, answered())
    eventually(lambda: noted.kept["random"] == 1)
    assert len(store.names()) == 1


def test_a_picture_larger_than_the_whole_budget_is_dropped(started: Callable[..., Any]) -> None:
    sampler, store, noted = started(max_bytes=100)
    sampler.exchanged(IMAGE, OWN, 0.5, answered())
    eventually(lambda: noted.dropped["too_large"] == 1)
    assert store.names() == []


def test_expired_samples_go_without_another_request(started: Callable[..., Any]) -> None:
    sampler, store, noted = started(ttl_s=1.0)
    sampler.exchanged(IMAGE, OWN, 0.5, answered())
    eventually(lambda: noted.kept["random"] == 1)
    eventually(lambda: store.names() == [] and noted.there == (0, 0))


def test_where_something_is_to_be_blurred_an_answer_that_may_not_name_it_is_not_kept(
    started: Callable[..., Any],
) -> None:
    sampler, store, noted = started(Plan(1_000, 1.0, 0, frozenset({"thing"})))
    sampler.exchanged(IMAGE, DetectOptions(classes=("other",)), 0.5, answered(None))
    assert noted.dropped["unblurred"] == 1
    sampler.exchanged(IMAGE, OWN, 0.5, answered())
    eventually(lambda: noted.kept["random"] == 1)
    assert unpack(store.read(store.names()[0]))[1]["blurred"] == ["thing"]
