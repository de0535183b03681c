"""A service with one place: who comes second is refused at once, clearly, and the connection stays usable."""

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server

PICTURE = encode_picture(64, 64)


@pytest.fixture(scope="module")
def crowded(toy_bundle: Bundle) -> Iterator[Served]:
    """One place for normal requests and one for high ones, an engine of 1.5 s, and somebody inside."""
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_FAKE_ENGINE_DELAY_MS": "1500",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_MAX_IN_FLIGHT": "1",
        "RCNN_MAX_IMAGES_PER_REQUEST": "1",
        "RCNN_MAX_IN_FLIGHT_PER_STREAM": "1",
        "RCNN_HIGH_PRIORITY_PLACES": "1",
    }
    with run_server(environment) as server:
        yield server


def occupy(server: Served) -> "threading.Thread":
    """Somebody inside, for as long as a batch takes."""
    caller = threading.Thread(target=httpx.post, args=(f"{server.http_url}/v1/detect",), kwargs={"content": PICTURE})
    caller.start()
    deadline = time.monotonic() + 10
    while "rcnn_in_flight_requests 1.0" not in httpx.get(f"{server.metrics_url}/metrics").text:
        assert time.monotonic() < deadline, "nobody went in"
    return caller


@pytest.mark.parametrize("path", ["/v1/detect", "/v1/models/toy/detect"])
def test_a_refusal_is_a_problem_document_with_the_time_to_wait(crowded: Served, path: str) -> None:
    """429 with its code, Retry-After and the caller's id, whatever the body; it is counted; the connection goes on."""
    inside = occupy(crowded)
    with httpx.Client(base_url=crowded.http_url, timeout=30) as client:
        for body in (PICTURE, bytes(3_000_000)):
            refused = client.post(path, content=body, headers={"X-Request-Id": "mine"})
            assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["x-request-id"] == refused.json()["request_id"] == "mine"
            assert refused.headers["content-type"] == "application/problem+json"
        inside.join()
        assert client.post(path, content=PICTURE).status_code == 200
    text = httpx.get(f"{crowded.metrics_url}/metrics").text
    assert 'rcnn_requests_total{model="toy",outcome="overloaded",protocol="rest",version="1"}' in text
    assert 'rcnn_shed_total{reason="in_flight"}' in text


def test_high_priority_still_has_a_place_and_other_mistakes_their_own_words(crowded: Served) -> None:
    """Among those refused, high priority is let in; what is wrong with a request is told even now."""
    inside = occupy(crowded)
    detect = f"{crowded.http_url}/v1/detect"
    wrong = httpx.post(detect, content=PICTURE, headers={"X-Request-Priority": "urgent"})
    unknown = httpx.post(f"{crowded.http_url}/v1/models/none/detect", content=PICTURE)
    high = httpx.post(detect, content=PICTURE, headers={"X-Request-Priority": "high"}, timeout=30)
    inside.join()
    assert (wrong.status_code, unknown.status_code, high.status_code) == (400, 404, 200)
