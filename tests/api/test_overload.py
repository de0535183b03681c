"""A service with one place: who comes second is refused at once, clearly, and the connection stays usable."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server
from tests.hanging import hanging
from tests.patience import eventually

PICTURE = encode_picture(64, 64)


@dataclass(frozen=True)
class Crowded:
    """A server, and the file by which its engine is held."""

    served: Served
    fault: Path

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Somebody is inside, and answered after the block."""
        with ThreadPoolExecutor(1) as callers:
            with hanging(self.fault):
                caller = callers.submit(httpx.post, f"{self.served.http_url}/v1/detect", content=PICTURE, timeout=60)
                eventually(lambda: self.has_inside(1))
                yield
            assert caller.result().status_code == 200

    def has_inside(self, count: int) -> bool:
        text = httpx.get(f"{self.served.metrics_url}/metrics").text
        return f"rcnn_in_flight_requests {count}.0" in text


@pytest.fixture(scope="module")
def crowded(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    """One place for normal requests and one for high ones."""
    fault = tmp_path_factory.mktemp("fault") / "fault"
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_FAKE_ENGINE_FAULT_FILE": str(fault),
        "RCNN_DEFAULT_TIMEOUT_MS": "60000",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_MAX_IN_FLIGHT": "1",
        "RCNN_MAX_IMAGES_PER_REQUEST": "1",
        "RCNN_MAX_IN_FLIGHT_PER_STREAM": "1",
        "RCNN_HIGH_PRIORITY_PLACES": "1",
    }
    with run_server(environment) as server:
        yield Crowded(server, fault)


@pytest.mark.parametrize("path", ["/v1/detect", "/v1/models/toy/detect"])
def test_a_refusal_is_a_problem_document_with_the_time_to_wait(crowded: Crowded, path: str) -> None:
    """429 with its code, Retry-After and the caller's id, whatever the body; it is counted; the connection goes on."""
    with httpx.Client(base_url=crowded.served.http_url, timeout=30) as client:
        with crowded.occupied():
            for body in (PICTURE, bytes(3_000_000)):
                refused = client.post(path, content=body, headers={"X-Request-Id": "mine"})
                assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
                assert int(refused.headers["retry-after"]) >= 1
                assert refused.headers["x-request-id"] == refused.json()["request_id"] == "mine"
                assert refused.headers["content-type"] == "application/problem+json"
        assert client.post(path, content=PICTURE).status_code == 200
    text = httpx.get(f"{crowded.served.metrics_url}/metrics").text
    assert 'rcnn_requests_total{model="toy",outcome="overloaded",protocol="rest",version="1"}' in text
    assert 'rcnn_shed_total{reason="in_flight"}' in text


def test_high_priority_still_has_a_place_and_other_mistakes_their_own_words(crowded: Crowded) -> None:
    """Among those refused, high priority is let in; what is wrong with a request is told even now."""
    detect, goes_first = f"{crowded.served.http_url}/v1/detect", {"X-Request-Priority": "high"}
    with ThreadPoolExecutor(1) as callers:
        with crowded.occupied():
            wrong = httpx.post(detect, content=PICTURE, headers={"X-Request-Priority": "urgent"})
            unknown = httpx.post(f"{crowded.served.http_url}/v1/models/none/detect", content=PICTURE)
            high = callers.submit(httpx.post, detect, content=PICTURE, headers=goes_first, timeout=60)
            eventually(lambda: crowded.has_inside(2))
        assert (wrong.status_code, unknown.status_code, high.result().status_code) == (400, 404, 200)
