"""The p99 of a fleet, by the expression the documentation gives, beside what its clients have measured."""

import asyncio
import os
import re
import shutil
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from deploy.drill.prometheus import Prometheus, running_prometheus
from loadtests.driver import Order, Target, drive_closed
from loadtests.pictures import Picture
from loadtests.samples import Sample
from service.bundle import Bundle
from service.metrics import Metrics
from tests.conftest import Served, encode_picture, run_server

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
PICTURE = Picture("grey", "image/png", encode_picture(100, 60), (100, 60))
DELAYS_MS = (5, 40, 160)
REQUESTS_EACH, AT_ONCE = 100, 2
_PATIENCE_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.alone]


async def ask(replicas: Sequence[Served], each: int) -> list[Sample]:
    """Of all replicas at the same time; all must be answered."""
    orders = [[Order(PICTURE, Target(replica.http_url))] * each for replica in replicas]
    driven = await asyncio.gather(*(drive_closed(own, AT_ONCE) for own in orders))
    samples = [sample for one in driven for sample in one]
    assert len(samples) == each * len(replicas) and all(sample.is_ok for sample in samples)
    return samples


def wait_until_scraped(prometheus: Prometheus, requests: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while [row.values for row in prometheus.now("sum(rcnn_request_duration_seconds_count)")] != [(float(requests),)]:
        assert time.monotonic() < end, "not scraped in time"
        time.sleep(0.2)


def bucket(seconds: float) -> int:
    (family,) = [metric for metric in Metrics().declared if metric.name == "rcnn_request_duration_seconds"]
    return bisect_left(family.buckets, seconds)


def test_the_p99_over_three_replicas_is_within_a_bucket_of_what_clients_measured(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    """
    The replicas differ as much as a bad fleet's: the mean of their own p99s, or any one of them, may be far off.

    One request each is scraped first: Prometheus counts from the first sample of a series on.
    """
    if shutil.which("prometheus") is None:
        advice = "no prometheus: run make tools"
        pytest.fail(advice) if os.environ.get("CI") else pytest.skip(advice)
    engine = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root)}
    (expression,) = re.findall(r"histogram_quantile\(.+?\[5m\]\)\)\)", PAGE.read_text())
    with ExitStack() as running:
        delays = [{**engine, "RCNN_FAKE_ENGINE_DELAY_MS": str(delay)} for delay in DELAYS_MS]
        replicas = [running.enter_context(run_server(environment)) for environment in delays]
        targets = [replica.metrics_url.removeprefix("http://") for replica in replicas]
        prometheus = running.enter_context(running_prometheus(tmp_path, targets, []))
        asyncio.run(ask(replicas, 1))
        wait_until_scraped(prometheus, len(replicas))
        samples = asyncio.run(ask(replicas, REQUESTS_EACH))
        wait_until_scraped(prometheus, len(replicas) * (1 + REQUESTS_EACH))
        ((fleet_s,),) = [row.values for row in prometheus.now(expression)]
        by_replica = prometheus.now(expression.replace("(le)", "(le, instance)"))
    measured_s = float(np.quantile([sample.latency_ms for sample in samples], 0.99)) / 1e3
    own_s = [row.values[0] for row in by_replica]
    print(f"client {measured_s:.3f} s, fleet {fleet_s:.3f} s, replicas {sorted(own_s)}, mean {np.mean(own_s):.3f} s")
    assert len(own_s) == len(replicas)
    assert abs(bucket(fleet_s) - bucket(measured_s)) <= 1
    assert abs(bucket(min(own_s)) - bucket(measured_s)) > 1
