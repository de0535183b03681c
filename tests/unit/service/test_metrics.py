"""What the metrics say, and that nobody can make them grow."""

import asyncio
import random
import string
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from service.api.requests import Accounting
from service.api.rest.app import create_rest_app
from service.api.rest.bodies import BodyLimits
from service.api.rest.routes import RestDoor
from service.api.rest.status import StatusDoor
from service.app import Service
from service.bundle import Bundle
from service.detections import ModelId
from service.gpu import GpuReading
from service.memory import BodyMemory
from service.metrics import Metrics, Queue
from service.settings import read_settings
from service.tracing import Trace, Tracer
from tests.conftest import encode_picture

MODEL = ModelId("toy", "1", "sha256:0")


def series(registry: CollectorRegistry) -> int:
    return sum(len(metric.samples) for metric in registry.collect())


@pytest.fixture
async def service(toy_bundle: Bundle) -> AsyncIterator[Service]:
    settings = read_settings(engine="fake", fake_engine_delay_ms=0, bundles=str(toy_bundle.root))
    service = Service(settings)
    await service.load()
    yield service
    await service.unload()


async def test_ten_thousand_random_requests_leave_the_series_bounded(service: Service) -> None:
    """Names, versions, options, headers and bodies made up by callers appear in no label."""
    accounting = Accounting(service.metrics, Tracer())
    body = BodyLimits(1_000_000, 16, 2_000_000, 30.0)
    memory = BodyMemory(10_000_000, service.metrics.body_memory)
    parts = (service.predictor, service.models, service.health, accounting)
    door = RestDoor(*parts, body, service.image_limits, memory)
    status = StatusDoor(service.models, service.health, service.metrics)
    app = create_rest_app(door, status, "0", Tracer(), secured=False)
    seeds = random.Random(5)

    good = encode_picture(64, 64)

    def word() -> str:
        return "".join(seeds.choices(string.ascii_letters + string.digits, k=6))

    async def ask() -> int:
        named = f"/v1/models/{seeds.choice([word(), 'toy'])}/detect"
        path = seeds.choice(["/v1/detect", named, f"/{word()}"])
        query = seeds.choice(["", f"version={word()}", f"{word()}={word()}", f"classes={word()}"])
        picture = good if seeds.random() < 0.1 else seeds.randbytes(40)
        headers = {
            "x-request-id": word(),
            "x-request-priority": seeds.choice(["high", "normal", word()]),
            "x-source": word(),
        }
        sent = [{"type": "http.request", "body": picture, "more_body": False}]
        statuses = []

        async def receive() -> dict[str, object]:
            return sent.pop() if sent else await asyncio.Future()  # the caller stays until it is answered

        async def send(message: dict[str, object]) -> None:
            statuses.append(message.get("status"))

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": seeds.choice(["POST", "POST", "GET"]),
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await app(scope, receive, send)  # type: ignore[arg-type]
        return int(str(statuses[0]))

    statuses = {await ask() for _ in range(1_000)}
    assert {200, 400, 404, 405} <= statuses
    after_a_thousand = series(service.metrics.registry)
    for _ in range(9_000):
        await ask()
    # Each further outcome of the same model and door is one counter and its creation time: a fixed list of codes.
    assert series(service.metrics.registry) - after_a_thousand < 40
    assert series(service.metrics.registry) < 500


def test_what_waits_is_read_at_the_scrape() -> None:
    """Versions of a name are added up; of a model that is not served any more nothing is said."""
    metrics, queues = Metrics(), [Queue("toy", 2, 0.5), Queue("toy", 1, 0.25), Queue("other", 0, 0.0)]
    metrics.watch_queues(lambda: queues)
    value = metrics.registry.get_sample_value
    assert value("rcnn_queue_depth", {"model": "toy"}) == 3
    assert value("rcnn_queued_work_seconds", {"model": "toy"}) == 0.75
    assert value("rcnn_queue_depth", {"model": "other"}) == 0
    assert 'model="toy"} 3.0' in generate_latest(metrics.registry.restricted_registry(["rcnn_queue_depth"])).decode()
    queues.clear()
    assert value("rcnn_queue_depth", {"model": "toy"}) is None


def test_an_exemplar_names_the_trace_if_somebody_records_it() -> None:
    """Of an unsampled trace nothing could be found under the id."""
    metrics = Metrics()
    for digit, sampled in (("a", True), ("b", False)):
        metrics.request_done(MODEL, "rest", "ok", 0.02, Trace(digit * 32, "c" * 16, None, sampled))
    text = generate_latest(metrics.registry).decode()
    assert f'# {{trace_id="{"a" * 32}"}} 0.02' in text and "b" * 32 not in text


def test_tritons_names_appear_where_they_are_asked_for() -> None:
    """Counted from the same requests as the service's own."""
    for wanted in (True, False):
        metrics = Metrics(triton_names=wanted)
        metrics.request_done(MODEL, "rest", "ok", 0.25)
        metrics.request_done(MODEL, "rest", "overloaded", 0.01)
        value, labels = metrics.registry.get_sample_value, {"model": "toy", "version": "1"}
        assert value("nv_inference_request_success", labels) == (1 if wanted else None)
        assert value("nv_inference_request_duration_us", labels) == (250_000 if wanted else None)
        assert value("nv_inference_request_failure", {**labels, "reason": "OTHER"}) == (1 if wanted else None)


def test_a_release_with_a_name_is_a_series_and_one_without_is_none() -> None:
    """The name that answers (X-Release), audit lines and the judge's counts carry."""
    named, unnamed = Metrics(release="0.1.0-4f2a").registry, Metrics().registry
    assert named.get_sample_value("rcnn_release_info", {"release": "0.1.0-4f2a"}) == 1
    assert "rcnn_release_info{" not in generate_latest(unnamed).decode()


def test_what_a_gpu_does_not_tell_is_absent_and_no_gpu_is_said_plainly() -> None:
    """0 would be read as idle, or as no memory left."""
    metrics = Metrics()
    metrics.gpu_read([GpuReading("0:1", None, 5.0, 10.0, None, None, 3.0)])
    value = metrics.registry.get_sample_value
    assert value("rcnn_gpus") == 1
    assert value("rcnn_gpu_memory_used_bytes", {"gpu": "0:1"}) == 5
    assert value("rcnn_gpu_process_memory_used_bytes", {"gpu": "0:1"}) == 3
    assert value("rcnn_gpu_utilization_ratio", {"gpu": "0:1"}) is None
    metrics.gpu_read([])
    assert value("rcnn_gpus") == 0 and value("rcnn_gpu_memory_used_bytes", {"gpu": "0:1"}) is None
