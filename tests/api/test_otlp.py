"""Traces as a receiver of OTLP gets them from a running service."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server
from tests.hanging import hanging
from tests.patience import eventually

STAGES = {"decode", "preprocess", "queue", "detector", "nms", "encode"}


class Receiver:
    """Speaks OTLP over HTTP on a port of its own."""

    def __init__(self) -> None:
        spans: list[Span] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sent = ExportTraceServiceRequest.FromString(body)
                spans.extend(s for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self.spans, self.server = spans, ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, trace_id: str, name: str = "") -> list[Span]:
        return [s for s in list(self.spans) if s.trace_id.hex() == trace_id and name in ("", s.name)]

    def wait_for(self, trace_ids: list[str]) -> None:
        deadline = time.monotonic() + 30
        while not all(self.of(trace_id, "request") for trace_id in trace_ids):
            assert time.monotonic() < deadline, "the spans did not arrive"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file by which traced's engine is held."""
    return tmp_path_factory.mktemp("fault") / "fault"


@pytest.fixture(scope="module")
def traced(toy_bundle: Bundle, receiver: Receiver, fault: Path) -> Iterator[Served]:
    settings = {
        "RCNN_ENGINE": "fake",
        "RCNN_FAKE_ENGINE_DELAY_MS": "100",
        "RCNN_FAKE_ENGINE_FAULT_FILE": str(fault),
        "RCNN_DEFAULT_TIMEOUT_MS": "60000",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_TRACES_URL": receiver.url,
        "RCNN_TRACE_SAMPLE_RATIO": "0",
    }
    with run_server(settings | {"OTEL_BSP_SCHEDULE_DELAY": "200"}) as server:
        yield server


def ask(served: Served, trace_id: str, sampled: bool = True) -> httpx.Response:
    headers = {"traceparent": f"00-{trace_id}-{'ab' * 8}-{int(sampled):02x}"}
    return httpx.post(f"{served.http_url}/v1/detect", content=encode_picture(64, 64), headers=headers, timeout=60)


def test_a_batch_is_linked_to_its_requests_and_each_stage_is_a_span(
    traced: Served, receiver: Receiver, fault: Path
) -> None:
    """Six requests at once: the first runs alone, the others share what comes after it."""
    trace_ids = [f"{index:032x}" for index in range(1, 7)]
    with ThreadPoolExecutor(6) as threads:
        with hanging(fault):
            asked = [threads.submit(ask, traced, trace_id) for trace_id in trace_ids]
            eventually(lambda: "rcnn_in_flight_requests 6.0" in httpx.get(f"{traced.metrics_url}/metrics").text)
        answers = [one.result() for one in asked]
    receiver.wait_for(trace_ids)
    for trace_id, answer in zip(trace_ids, answers, strict=True):
        (request,) = receiver.of(trace_id, "request")
        assert request.parent_span_id.hex() == "ab" * 8 and request.kind == Span.SPAN_KIND_SERVER
        assert answer.headers["traceparent"] == f"00-{trace_id}-{request.span_id.hex()}-01"
        stages = [span for span in receiver.of(trace_id) if span.name != "request"]
        assert {span.name for span in stages} == STAGES
        for span in stages:
            assert span.parent_span_id == request.span_id
            assert span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano
            assert request.start_time_unix_nano <= span.start_time_unix_nano
        (detector,) = (span for span in stages if span.name == "detector")
        assert detector.end_time_unix_nano - detector.start_time_unix_nano >= 95e6
        assert abs(request.end_time_unix_nano - time.time_ns()) < 60e9
    batches = [span for span in list(receiver.spans) if span.name == "batch"]
    linked = [{link.trace_id.hex() for link in batch.links} for batch in batches]
    assert set().union(*linked) == set(trace_ids) and max(map(len, linked)) > 1
    assert sum(map(len, linked)) == len(trace_ids)


def test_what_the_caller_does_not_record_is_not_sent(traced: Served, receiver: Receiver) -> None:
    """Nor is what comes without a trace, at a ratio of 0."""
    ask(traced, "d" * 32, sampled=False).raise_for_status()
    httpx.post(f"{traced.http_url}/v1/detect", content=encode_picture(64, 64), timeout=30).raise_for_status()
    before = len({span.trace_id for span in list(receiver.spans) if span.name == "request"})
    ask(traced, "e" * 32)
    receiver.wait_for(["e" * 32])
    assert not receiver.of("d" * 32)
    assert len({span.trace_id for span in list(receiver.spans) if span.name == "request"}) == before + 1


def test_grpc_calls_and_refusals_have_their_spans_too(traced: Served, receiver: Receiver) -> None:
    """The trailers name the span, as REST's header does."""
    with grpc.insecure_channel(traced.grpc_address) as channel:
        metadata = (("traceparent", f"00-{'f' * 32}-{'ab' * 8}-01"),)
        request = pb.DetectRequest(image=encode_picture(64, 64))
        _, call = pb_grpc.DetectionServiceStub(channel).Detect.with_call(request, metadata=metadata)
    refused = httpx.post(
        f"{traced.http_url}/v1/detect", content=b"hello", headers={"traceparent": f"00-{'a' * 32}-{'ab' * 8}-01"}
    )
    assert refused.status_code == 415
    receiver.wait_for(["f" * 32, "a" * 32])
    (span,) = receiver.of("f" * 32, "request")
    assert dict(call.trailing_metadata())["traceparent"] == f"00-{'f' * 32}-{span.span_id.hex()}-01"
    (span,) = receiver.of("a" * 32, "request")
    assert {a.key: a.value.string_value for a in span.attributes}["rcnn.outcome"] == "unsupported_media_type"
