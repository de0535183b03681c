"""Answers kept for the same question, through the doors of a real server."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle
from tests.conftest import Served, run_server

Picture = Callable[..., bytes]


@pytest.fixture(scope="module")
def caching(toy_bundle: Bundle) -> Iterator[Served]:
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), "RCNN_RESPONSE_CACHE_MB": "1"}
    with run_server(environment) as server:
        yield server


def metric(served: Served, name: str) -> float:
    lines = httpx.get(f"{served.metrics_url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_the_same_question_is_answered_from_the_cache(caching: Served, picture: Picture) -> None:
    """The same detections, said to be kept in X-Cache and in the timings, and counted."""
    misses, hits = (
        metric(caching, "rcnn_response_cache_misses_total"),
        metric(caching, "rcnn_response_cache_hits_total"),
    )
    body = picture(90, 60, 200)
    first, second = (httpx.post(f"{caching.http_url}/v1/detect?masks=rle", content=body) for _ in range(2))
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert first.json()["detections"] == second.json()["detections"] != []
    assert "detector" in first.json()["timings_ms"] and set(second.json()["timings_ms"]) == {"cache", "total"}
    assert metric(caching, "rcnn_response_cache_misses_total") == misses + 1
    assert metric(caching, "rcnn_response_cache_hits_total") == hits + 1
    assert 0 < metric(caching, "rcnn_response_cache_bytes") <= 1e6


def test_another_option_or_image_is_another_question(caching: Served, picture: Picture) -> None:
    """Nobody is given the answer to something else."""
    asked = [(picture(70, 50, 10), ""), (picture(70, 50, 10), "?masks=png"), (picture(70, 50, 11), "")]
    for body, query in asked:
        assert httpx.post(f"{caching.http_url}/v1/detect{query}", content=body).headers["X-Cache"] == "miss"


def test_both_doors_keep_the_same_answers(caching: Served, picture: Picture) -> None:
    """What REST has computed, gRPC is given."""
    body = picture(40, 44, 77)
    rest = httpx.post(f"{caching.http_url}/v1/detect", content=body).json()
    with grpc.insecure_channel(caching.grpc_address) as channel:
        answer = pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=body))
    assert "cache" in answer.timings_ms
    assert [round(one.score, 5) for one in answer.detections] == [round(row["score"], 5) for row in rest["detections"]]


def test_equal_requests_at_the_same_time_run_the_model_once(caching: Served, picture: Picture) -> None:
    """Sixteen callers with one image are one image in one batch."""
    before, body = metric(caching, "rcnn_response_cache_misses_total"), picture(55, 66, 99)
    with ThreadPoolExecutor(16) as callers:
        asked = callers.map(lambda _: httpx.post(f"{caching.http_url}/v1/detect", content=body), range(16))
        answers = [answer.json()["detections"] for answer in asked]
    assert all(answer == answers[0] for answer in answers)
    assert metric(caching, "rcnn_response_cache_misses_total") == before + 1


def test_an_image_that_cannot_be_read_is_refused_each_time(caching: Served) -> None:
    """Errors are not kept."""
    for _ in range(2):
        refused = httpx.post(f"{caching.http_url}/v1/detect", content=b"\x89PNG\r\n\x1a\nbroken")
        assert refused.status_code == 422 and "X-Cache" not in refused.headers


def test_without_the_setting_nothing_is_kept(fake_served: Served, picture: Picture) -> None:
    """Off by default: no header, every image is looked at."""
    body = picture(90, 60, 200)
    for _ in range(2):
        answer = httpx.post(f"{fake_served.http_url}/v1/detect", content=body)
        assert "X-Cache" not in answer.headers and "detector" in answer.json()["timings_ms"]
