"""What a running service tells of its requests: metrics as Prometheus reads them, and log lines."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time

import grpc
import httpx
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from tests.conftest import Served, encode_picture

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
KEY = "Bearer sk-live-0123456789abcdef"


def ask(served: Served, **headers: str) -> httpx.Response:
    return httpx.post(f"{served.http_url}/v1/detect?masks=rle", content=encode_picture(70, 50), headers=headers)


def line_of(served: Served, request_id: str) -> dict[str, object]:
    """The line of one request; it is written just after the answer."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for line in list(served.log):
            if f'"{request_id}"' in line:
                found: dict[str, object] = json.loads(line)
                return found
        time.sleep(0.01)
    raise AssertionError(f"no line of {request_id}")


def test_promtool_has_nothing_to_say_against_the_metrics(fake_served: Served) -> None:
    """`promtool check metrics` on a scrape in which everything has a value."""
    promtool = shutil.which("promtool")
    if promtool is None:
        if "CI" in os.environ:
            pytest.fail("no promtool: make tools")
        pytest.skip("no promtool: make tools")
    ask(fake_served).raise_for_status()
    scrape = httpx.get(f"{fake_served.metrics_url}/metrics").text
    assert 'rcnn_stage_duration_seconds_bucket{le="0.05",model="toy",stage="detector"}' in scrape
    checked = subprocess.run([promtool, "check", "metrics"], input=scrape, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_openmetrics_carries_the_callers_trace_as_an_exemplar(fake_served: Served) -> None:
    """On the request's counter, its duration and its stages; the plain format has no place for them."""
    ask(fake_served, traceparent=TRACEPARENT).raise_for_status()
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = httpx.get(f"{fake_served.metrics_url}/metrics", headers=accept).text
    for family in ("rcnn_requests_total", "rcnn_request_duration_seconds_bucket", "rcnn_stage_duration_seconds_bucket"):
        assert re.search(rf'^{family}{{.*}} \S+ # {{trace_id="{TRACE_ID}"}}', text, re.MULTILINE), family
    assert TRACE_ID not in httpx.get(f"{fake_served.metrics_url}/metrics").text


def test_a_request_leaves_one_line_that_tells_how_it_went(fake_served: Served) -> None:
    """By REST and by gRPC alike, with the caller's own trace."""
    ask(fake_served, **{"X-Request-Id": "line-rest", "traceparent": TRACEPARENT}).raise_for_status()
    with grpc.insecure_channel(fake_served.grpc_address) as channel:
        metadata = (("x-request-id", "line-grpc"), ("traceparent", TRACEPARENT))
        pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=encode_picture(70, 50)), metadata=metadata)
    for protocol in ("rest", "grpc"):
        line = line_of(fake_served, f"line-{protocol}")
        assert (line["protocol"], line["outcome"], line["trace_id"]) == (protocol, "ok", TRACE_ID)
        assert (line["model"], line["version"], line["images"]) == ("toy", "1", 1)
        assert str(line["digest"]).startswith("sha256:") and line["canvas_hw"] == [64, 128]
        assert isinstance(line["batch_size"], int) and line["batch_size"] >= 1 and isinstance(line["detections"], int)
        stages = line["stages_ms"]
        assert isinstance(stages, dict) and {"decode", "preprocess", "queue", "detector", "encode"} <= stages.keys()
    assert sum('"line-rest"' in line for line in fake_served.log) == 1


def test_the_logs_of_a_run_hold_no_image_no_key_and_no_path(fake_served: Served) -> None:
    """Answers and refusals of every kind, with a key on each of them."""
    picture = encode_picture(90, 40)
    encoded = base64.b64encode(picture).decode()
    with httpx.Client(base_url=fake_served.http_url, headers={"Authorization": KEY, "X-Api-Key": KEY}) as client:
        client.post("/v1/detect", content=picture)
        client.post("/v1/detect", content=picture[:60])
        client.post("/v1/detect", content=picture, params={"classes": encoded[:40]})
        client.post("/v1/detect", json={"images": [{"b64": encoded}]})
        client.post("/v1/detect", json={"images": [{"b64": "!" + encoded}]})
        client.post("/v1/models/../../etc/passwd/detect", content=picture)
        client.post("/v2/models/toy/infer", content=picture)
        client.post("/v2/repository/models/toy/load", json={"parameters": {"version": "/etc/passwd"}})
        client.post("/v1/detect", content=b"hello", headers={"X-Request-Id": "the-last-one"})
    line_of(fake_served, "the-last-one")
    for line in list(fake_served.log):
        said = json.loads(line)
        assert "sk-live" not in line and encoded[:24] not in line and "PNG" not in line and "\\u" not in line
        said.pop("request_id", None)
        assert not re.search(r"(?<![\w:/])/\w+/\w", json.dumps(said)), line


def test_drift_is_told_on_the_metrics_port_and_drawn_by_the_command(served: Served) -> None:
    """Too few images: undecided. The distributions are those of the models that have a baseline."""
    found = httpx.get(f"{served.metrics_url}/drift").raise_for_status().json()
    assert found["blood-cells"][""] == {"images": 0, "signals": {}}
    command = [sys.executable, "-m", "service.cli", "drift", "report", "--url", served.metrics_url]
    drawn = subprocess.run(command, capture_output=True, text=True)
    assert drawn.returncode == 3 and "blood-cells: fewer than 50 images" in drawn.stdout, drawn.stderr
