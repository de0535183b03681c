"""What every answer tells a browser."""

import base64
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server
from tests.patience import eventually


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/ui/app.js"),
        ("GET", "/docs"),
        ("GET", "/docs/assets/swagger-ui.css"),
        ("GET", "/openapi.json"),
        ("GET", "/livez"),
        ("GET", "/v1/models"),
        ("GET", "/v2"),
        ("GET", "/v2/models/none"),
        ("GET", "/nothing"),
        ("POST", "/v1/detect"),
    ],
)
def test_every_answer_is_strict(fake_served: Served, method: str, path: str) -> None:
    """Good answers, refusals and files alike; each header once, no script from elsewhere, no frame around us."""
    answer = httpx.request(method, fake_served.http_url + path)
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options"):
        assert len(answer.headers.get_list(name)) == 1, name
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy and "script-src 'self' 'unsafe-inline'" not in policy
    assert "server" not in answer.headers and "strict-transport-security" not in answer.headers


def test_the_metrics_port_is_strict_too(fake_served: Served) -> None:
    """Operators have browsers as well."""
    for path in ("/metrics", "/nothing"):
        assert httpx.get(fake_served.metrics_url + path).headers["x-content-type-options"] == "nosniff"


def test_the_reference_runs_its_own_script_alone(fake_served: Served) -> None:
    """The one script inside the page is named by its hash."""
    page = httpx.get(f"{fake_served.http_url}/docs")
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    named = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{named}';" in page.headers["content-security-policy"]


def test_a_picture_drawn_on_is_no_page(fake_served: Served) -> None:
    """An image answer cannot be taken for HTML."""
    picture = encode_picture(80, 60, 200)
    answer = httpx.post(f"{fake_served.http_url}/v1/detect", content=picture, headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"


def test_refusals_and_failures_name_their_release_too(toy_bundle: Bundle, tmp_path: Path) -> None:
    """A canary's errors are laid at its door by this header."""
    fault = tmp_path / "fault"
    fault.write_text("raise")
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), "RCNN_RELEASE": "v7"}
    environment |= {
        "RCNN_FAKE_ENGINE_FAULT_FILE": str(fault),
        "RCNN_MAX_IN_FLIGHT": "1",
        "RCNN_MAX_IMAGES_PER_REQUEST": "1",
    }
    with run_server(environment | {"RCNN_HIGH_PRIORITY_PLACES": "0"}) as server, ThreadPoolExecutor(1) as callers:

        def ask() -> httpx.Response:
            return httpx.post(f"{server.http_url}/v1/detect", content=encode_picture(64, 64))

        def seen(status: int) -> str | None:
            answer = ask()
            assert answer.status_code == status
            return answer.headers.get("X-Release")

        assert seen(500) == "v7"
        fault.write_text("hang")
        stuck = callers.submit(ask)
        eventually(lambda: "rcnn_in_flight_requests 1.0" in httpx.get(f"{server.metrics_url}/metrics").text)
        assert seen(429) == "v7"
        fault.write_text("")
        assert stuck.result().headers["X-Release"] == "v7"
