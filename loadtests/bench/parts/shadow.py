"""
What a client notices of shadowing: a candidate that is there, here or elsewhere, one that is down, one that hangs,
beside none.
"""

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

import numpy as np
from matplotlib.figure import Figure as Plot

from loadtests import plot
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.driver import Target
from loadtests.pictures import Picture, read_pictures
from loadtests.run import drive
from loadtests.scenarios import closed
from loadtests.scrape import scrape
from loadtests.serving import Service, serving, serving_recorded

TITLE = "shadow: a tenth of the questions asked of a candidate too, beside none"
SHARE = 0.1
RANKS = (50, 95)
RECORDED_WITHIN_S = 60.0
SLICE = 20
"""Requests before the next service has its turn: a machine that is slower for a second is so for all."""
Latencies = Mapping[str, Mapping[int, float]]  # of each service, the percentiles in milliseconds


def measure(plan: Plan) -> Result:
    """
    One caller, the fake engine, six services that take turns in short slices: none, its twin, and four that shadow.

    The candidate is a process of its own on the same cores: its engine only sleeps, all else takes from what the client
    has. One elsewhere, as in a cluster, is one whose answers were recorded before.
    """
    pictures, rounds = read_pictures(None), []
    with ExitStack() as stack:
        here = stack.enter_context(serving(plan.service())).url
        elsewhere = stack.enter_context(serving_recorded(here))
        down, hanging = stack.enter_context(_nobody()), stack.enter_context(_silent())
        addresses = {"elsewhere": elsewhere, "here": here, "down": down, "hanging": hanging}
        _record(plan, pictures, elsewhere)
        for turn in range(plan.rounds):
            with _all(plan, addresses) as services:
                rounds.append(_round(services, pictures, plan, turn))
    return Result(_figures(rounds), [], {"shadow": _bars(rounds)})


@contextmanager
def _all(plan: Plan, addresses: Mapping[str, str]) -> Iterator[dict[str, Service]]:
    """Started anew for each round: by chance a process is up to a tenth slower than its twin, for all its life."""
    with ExitStack() as stack:
        services = {name: stack.enter_context(serving(plan.service())) for name in ("none", "none again")}
        for name, url in addresses.items():
            services[name] = stack.enter_context(serving(_shadowing(plan, url, SHARE)))
        yield services


def _shadowing(plan: Plan, url: str, share: float) -> Mapping[str, object]:
    return plan.service(shadow_url=url, shadow_share=share, release="stable")


def _record(plan: Plan, pictures: list[Picture], url: str) -> None:
    """Ask about each picture, until the candidate has been too."""
    with serving(_shadowing(plan, url, 1.0)) as service:
        _run(service, pictures, len(pictures), plan.seed)
        give_up_s = time.monotonic() + RECORDED_WITHIN_S
        while _paired(service) < len(pictures):
            if time.monotonic() > give_up_s:
                raise RuntimeError(f"{_paired(service)} of {len(pictures)} questions were asked of the candidate")
            time.sleep(0.1)


def _paired(service: Service) -> int:
    found = scrape(service.metrics_url).items()
    return round(sum(value for (name, _), value in found if name == "rcnn_shadow_pairs_total"))


@contextmanager
def _nobody() -> Iterator[str]:
    """An address where nothing listens: its port is held, for services that start later are dealt free ones."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def _silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    kept: list[socket.socket] = []

    def accept() -> None:
        try:
            while True:
                kept.append(server.accept()[0])
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, name="silent candidate")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


def _round(services: Mapping[str, Service], pictures: list[Picture], plan: Plan, turn: int) -> Latencies:
    """Slices of all services in turn, there and back, until each has had about plan.seconds."""
    each_s = median(_run(services["none"], pictures, 2 * SLICE, plan.seed)) / 1e3
    found: dict[str, list[float]] = {name: [] for name in services}
    for cut in range(max(2, round(plan.seconds / each_s / SLICE))):
        for name in list(services)[:: 1 if (turn + cut) % 2 == 0 else -1]:
            found[name] += _run(services[name], pictures, SLICE, plan.seed + 1000 * turn + cut)
    return {name: {rank: float(np.percentile(ms, rank)) for rank in RANKS} for name, ms in found.items()}


def _run(service: Service, pictures: list[Picture], requests: int, seed: int) -> list[float]:
    """Latencies in milliseconds. Raises RuntimeError where a request failed."""
    target = Target(service.url, options=(("masks", "rle"),), timeout_s=120.0)
    samples = drive(closed(target, pictures, requests, 1, seed), lambda _: None)
    if failed := [sample.outcome for sample in samples if not sample.is_ok]:
        raise RuntimeError(f"{len(failed)} of {len(samples)} requests failed, the first with {failed[0]}")
    return [(sample.done_s - sample.sent_s) * 1e3 for sample in samples]


def _figures(rounds: Sequence[Latencies]) -> list[Figure]:
    """Each beside none, as a ratio: median, least and most of the rounds; none beside itself is what noise does."""
    found = [Figure(f"p{rank}, none", median(each["none"][rank] for each in rounds), "ms") for rank in RANKS]
    for name in [name for name in rounds[0] if name != "none"]:
        for rank in RANKS:
            ratios = sorted(each[name][rank] / each["none"][rank] for each in rounds)
            found.append(Figure(f"p{rank}, {name} / none", median(ratios)))
            found += [Figure(f"p{rank}, {name} / none, least", ratios[0])]
            found += [Figure(f"p{rank}, {name} / none, most", ratios[-1])]
    return found


def _bars(rounds: Sequence[Latencies]) -> Plot:
    bars = [(name, median(each[name][95] for each in rounds)) for name in rounds[0]]
    return plot.bar_figure("95th percentile of one caller's latency", bars, "ms")
