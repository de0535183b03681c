"""The drills, each told from its cause. But for the quiet hour, an hour of the rules is a minute here."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from deploy.alerts.objectives import Objectives
from deploy.drill.play import Play, ordinary, shipped
from deploy.drill.stage import SPEEDUP
from deploy.drill.traffic import traffic

Cause = Callable[[Play], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Drill:
    """What is done, and which alert has to tell of it."""

    story: str
    alert: str
    """Empty: none may fire."""
    limit_s: float
    """How long to wait for it, from the cause."""
    calm: Cause
    """How things are before; entered first and left last."""
    cause: Cause
    speedup: int = SPEEDUP
    promised: Objectives | None = None
    """To callers; unless said otherwise what the chart's rules promise."""


@contextmanager
def _nothing(_: Play) -> Iterator[None]:
    yield


def _served(per_second: float, calm_s: float) -> Cause:
    """A healthy service with traffic, for calm_s before anything happens."""

    @contextmanager
    def calm(play: Play) -> Iterator[None]:
        play.serve()
        try:
            with traffic(play.here.url, per_second, ordinary):
                time.sleep(calm_s)
                yield
        finally:
            play.stop()

    return calm


@contextmanager
def _shipped_models(play: Play) -> Iterator[None]:
    play.serve_shipped()
    try:
        with traffic(play.here.url, 1 / 60, shipped):
            yield
    finally:
        play.stop()


@contextmanager
def _slower_engine(play: Play) -> Iterator[None]:
    play.serve(fake_engine_delay_ms=400)
    yield


@contextmanager
def _broken_engine(play: Play) -> Iterator[None]:
    play.break_engine()
    yield


@contextmanager
def _blind_model(play: Play) -> Iterator[None]:
    play.serve(bundles=play.blind_bundle())
    yield


@contextmanager
def _killed_thrice(play: Play) -> Iterator[None]:
    for _ in range(3):
        play.kill()
        play.serve()
        time.sleep(3)
    yield


@contextmanager
def _flood(play: Play) -> Iterator[None]:
    play.serve(fake_engine_delay_ms=1000, max_batch_size=2, max_images_per_request=2)
    with traffic(play.here.url, 12, ordinary):
        yield


@contextmanager
def _two_gpus(play: Play) -> Iterator[None]:
    with play.two_gpus_told_of():
        time.sleep(12)  # Prometheus takes its time with the first scrape
        yield


@contextmanager
def _one_gpu_less(play: Play) -> Iterator[None]:
    play.gpu_cards.pop()
    yield


@contextmanager
def _watched(play: Play) -> Iterator[None]:
    with play.watched_traffic(25):
        time.sleep(30)
        yield


@contextmanager
def _brighter(play: Play) -> Iterator[None]:
    play.light = 1.3
    yield


DRILLS: Mapping[str, Drill] = {
    "quiet": Drill(
        "a healthy service at one request a second, which is one a minute to the rules, for what is an hour to them",
        "", 60, _served(1, 5), _nothing,
    ),
    "quiet-hour": Drill(
        "the shipped models on the engine they are deployed with, one request a minute, a whole hour in real time",
        "", 3600, _shipped_models, _nothing, speedup=1, promised=Objectives(0.999, p95_s=2.5, p50_s=1.0),
    ),
    "latency-regression": Drill(
        "a release with an engine twenty times as slow (400 ms a batch), at 4 requests a second",
        "RcnnLatencyFastBurn", 60, _served(4, 20), _slower_engine,
    ),
    "error-burst": Drill(
        "the engine raises on every batch, at 4 requests a second",
        "RcnnAvailabilityFastBurn", 60, _served(4, 20), _broken_engine,
    ),
    "bad-model": Drill(
        "a release whose manifest asks for scores of 0.99, at 12 requests a second",
        "RcnnDetectionsShifted", 150, _served(12, 45), _blind_model,
    ),
    "drift": Drill(
        "the light on what is photographed grows by 30 %, at 25 pictures a second",
        "RcnnDrift", 120, _watched, _brighter,
    ),
    "out-of-memory": Drill(
        "the process is killed as the kernel kills for want of memory (SIGKILL) and started anew, three times",
        "RcnnRestarting", 60, _served(4, 10), _killed_thrice,
    ),
    "gpu-loss": Drill(
        "one of two GPUs is no longer told of (by a stand-in for the service: there is no GPU to lose here)",
        "RcnnGpuGone", 60, _two_gpus, _one_gpu_less,
    ),
    "queue-flood": Drill(
        "sixteen requests a second to an engine that does two",
        "RcnnQueueStanding", 90, _served(4, 30), _flood,
    ),
}  # fmt: skip
