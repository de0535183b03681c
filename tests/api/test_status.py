"""GET /v1/status and the headers of the page, on a real server."""

import httpx

from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server


def test_status_tells_what_went_on_in_the_last_minute(toy_bundle: Bundle) -> None:
    """
    An answer and a refusal show up under their model; nothing is left inside.

    On a server of its own: from one that others have asked, a request of theirs leaves the minute at any moment.
    """
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root)}
    with run_server(environment) as server, httpx.Client(base_url=server.http_url, timeout=30) as client:
        (before,) = client.get("/v1/status").raise_for_status().json()["models"]
        client.post("/v1/detect", content=encode_picture(64, 64)).raise_for_status()
        assert client.post("/v1/detect", content=b"hello").status_code == 415
        response = client.get("/v1/status")
    status = response.json()
    (after,) = status["models"]
    assert response.headers["cache-control"] == "no-store"
    assert (status["state"], status["in_flight_requests"], after["queue_depth"]) == ("ready", 0, 0)
    assert after["name"] == "toy" and after["default"] and after["engine"] == "fake"
    assert (after["requests"], after["failed"]) == (before["requests"] + 2, before["failed"] + 1)
    assert 0.02 <= after["p95_s"] < 30 and after["answers_per_s"] > 0


def test_status_is_documented_with_its_types(fake_served: Served) -> None:
    """OpenAPI names the answer's schema."""
    document = httpx.get(f"{fake_served.http_url}/openapi.json").json()
    answer = document["paths"]["/v1/status"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/StatusOut"}
    assert {"p95_s", "queue_depth"} <= document["components"]["schemas"]["ModelStatusOut"]["properties"].keys()


def test_the_page_and_its_files_forbid_anything_foreign_or_inline(fake_served: Served) -> None:
    """A strict policy on each, and no style or script in the markup that the policy would have to allow."""
    with httpx.Client(base_url=fake_served.http_url) as client:
        page = client.get("/")
        for response in (page, client.get("/ui/app.js"), client.get("/ui/style.css")):
            policy = response.headers["content-security-policy"]
            assert response.status_code == 200 and "default-src 'none'" in policy and "unsafe" not in policy
            assert response.headers["x-content-type-options"] == "nosniff"
    assert "style=" not in page.text and "<style" not in page.text and "onclick" not in page.text
