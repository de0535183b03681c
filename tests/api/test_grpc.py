"""rcnn.v1 on a real server: streams, deadlines, cancellation, health of each model, details, and the real grpcurl."""

import base64
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server
from tests.hanging import hanging

ROOT = Path(__file__).parents[2]
GOOD = encode_picture(80, 60, 200)
SLOW_MS = 300
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def stub(fake_served: Served) -> Iterator[pb_grpc.DetectionServiceStub]:
    with grpc.insecure_channel(fake_served.grpc_address) as channel:
        yield pb_grpc.DetectionServiceStub(channel)


@pytest.fixture(scope="module")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file by which slow's engine is held."""
    return tmp_path_factory.mktemp("fault") / "fault"


@pytest.fixture(scope="module")
def slow(toy_bundle: Bundle, fault: Path) -> Iterator[Served]:
    """One image at a time, a third of a second each, at most three of a stream."""
    with run_server(
        {
            "RCNN_ENGINE": "fake",
            "RCNN_BUNDLES": str(toy_bundle.root),
            "RCNN_FAKE_ENGINE_DELAY_MS": str(SLOW_MS),
            "RCNN_FAKE_ENGINE_FAULT_FILE": str(fault),
            "RCNN_MAX_BATCH_SIZE": "1",
            "RCNN_MAX_IN_FLIGHT_PER_STREAM": "3",
            "RCNN_DEFAULT_TIMEOUT_MS": "60000",
        }
    ) as server:
        yield server


def counted(server: Served, series: str) -> float:
    lines = httpx.get(f"{server.metrics_url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(series))


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_stream_answers_in_order_and_an_error_stands_in_its_place(stub: pb_grpc.DetectionServiceStub) -> None:
    """Twenty images of growing width, the eighth of them text: nineteen answers and one explanation, all in order."""
    requests = [pb.DetectRequest(image=encode_picture(60 + index, 50)) for index in range(20)]
    requests[7] = pb.DetectRequest(image=b"hello")
    responses = list(stub.DetectStream(iter(requests), metadata=(("x-request-id", "mine"),)))
    assert [response.index for response in responses] == list(range(20))
    for index, response in enumerate(responses):
        if index == 7:
            assert response.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
            assert response.error.message.startswith("unsupported_media_type: ")
            same = status_pb2.Status.FromString(response.error.SerializeToString())
            assert (same.code, same.message) == (response.error.code, response.error.message)
            assert same.details[0].Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
        else:
            assert response.answer.image_width == 60 + index
            assert response.answer.request_id == f"mine/{index}"


def test_a_stream_that_sends_nothing_ends_well(stub: pb_grpc.DetectionServiceStub) -> None:
    """No request, no response, no error."""
    assert list(stub.DetectStream(iter([]))) == []


def test_a_stream_holds_back_a_client_that_sends_faster(slow: Served) -> None:
    """Of twelve images sent at once, never more than three are inside."""
    most = 0.0
    with grpc.insecure_channel(slow.grpc_address) as channel:
        requests = (pb.DetectRequest(image=GOOD) for _ in range(12))
        for response in pb_grpc.DetectionServiceStub(channel).DetectStream(requests):
            assert response.WhichOneof("outcome") == "answer"
            most = max(most, counted(slow, "rcnn_in_flight_requests"))
    assert 1 <= most <= 3


def test_images_of_a_stream_have_deadlines_of_their_own(slow: Served) -> None:
    """The second may take 1 ms, which is too little; the third has its answer all the same."""
    requests = [pb.DetectRequest(image=GOOD, timeout_ms=timeout) for timeout in (20_000, 1, 20_000)]
    with grpc.insecure_channel(slow.grpc_address) as channel:
        first, late, third = pb_grpc.DetectionServiceStub(channel).DetectStream(iter(requests))
    assert first.WhichOneof("outcome") == third.WhichOneof("outcome") == "answer"
    assert late.error.message.split(":")[0] in ("deadline_exceeded", "overloaded")


@pytest.mark.parametrize("timeout_ms", [0, 3_600_000])
def test_a_deadline_out_of_range_is_refused(stub: pb_grpc.DetectionServiceStub, timeout_ms: int) -> None:
    """As REST refuses it in X-Request-Timeout-Ms."""
    with pytest.raises(grpc.RpcError) as refused:
        stub.Detect(pb.DetectRequest(image=GOOD, timeout_ms=timeout_ms))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details().startswith("invalid_option: timeout_ms")


def test_a_cancelled_call_leaves_the_queue_before_the_engine_sees_it(slow: Served, fault: Path) -> None:
    """Six calls behind each other; the last four are cancelled and the batcher drops them, unary or in a stream."""
    dropped = 'rcnn_cancelled_total{stage="queue"}'
    with grpc.insecure_channel(slow.grpc_address) as channel:
        stub = pb_grpc.DetectionServiceStub(channel)
        before = counted(slow, dropped)
        with hanging(fault):
            calls = [stub.Detect.future(pb.DetectRequest(image=GOOD)) for _ in range(6)]
            wait_until(lambda: counted(slow, "rcnn_queue_depth{") == 5, "five calls never were behind one another")
            for call in calls[2:]:
                call.cancel()
            wait_until(lambda: counted(slow, dropped) >= before + 3, "the cancelled calls stayed in the queue")
        assert [len(call.result().detections) for call in calls[:2]] == [1, 1]
        assert calls[5].cancelled()
        wait_until(lambda: counted(slow, "rcnn_in_flight_requests") == 0, "places were not given back")


def test_a_cancelled_stream_takes_its_images_out_of_the_queue(slow: Served, fault: Path) -> None:
    """The stream stays open, three images wait; cancelling it empties the queue and frees their places."""
    dropped = 'rcnn_cancelled_total{stage="queue"}'
    before, more = counted(slow, dropped), queue.Queue[pb.DetectRequest | None]()
    with grpc.insecure_channel(slow.grpc_address) as channel:
        with hanging(fault):
            call = pb_grpc.DetectionServiceStub(channel).DetectStream(iter(more.get, None))
            for _ in range(3):
                more.put(pb.DetectRequest(image=GOOD))
            wait_until(lambda: counted(slow, "rcnn_queue_depth{") == 2, "two images never were behind a third")
            call.cancel()
            more.put(None)
            wait_until(lambda: counted(slow, "rcnn_in_flight_requests") == 0, "the stream's images stayed inside")
            wait_until(lambda: counted(slow, dropped) >= before + 1, "the batcher was not told")


def test_the_calls_deadline_ends_a_unary_call(slow: Served) -> None:
    """50 ms for an engine of 300: the client hears DEADLINE_EXCEEDED or an early refusal."""
    with grpc.insecure_channel(slow.grpc_address) as channel, pytest.raises(grpc.RpcError) as refused:
        pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=GOOD), timeout=0.05)
    assert refused.value.code().name in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


def test_errors_carry_details_for_machines(stub: pb_grpc.DetectionServiceStub) -> None:
    """ErrorInfo with the stable code and the request's id, BadRequest with each wrong field."""
    options = pb.DetectOptions(score_threshold=2, iou_threshold=-1)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Detect(pb.DetectRequest(image=GOOD, options=options), metadata=(("x-request-id", "mine"),))
    status = rpc_status.from_call(refused.value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(bad)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "INVALID_OPTION",
        "rcnn",
        {"code": "invalid_option", "request_id": "mine"},
    )
    assert [row.field for row in bad.field_violations] == ["score_threshold", "iou_threshold"]
    assert ("x-request-id", "mine") in [tuple(pair) for pair in refused.value.trailing_metadata()]


def test_every_model_has_its_health(fake_served: Served) -> None:
    """By name and by name and version; a name nobody serves is NOT_FOUND, and a watcher sees the model serving."""
    with grpc.insecure_channel(fake_served.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "rcnn.v1.DetectionService", "toy", "toy/1"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as refused:
            health.Check(health_pb2.HealthCheckRequest(service="toy/2"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest(service="toy"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


def test_a_watcher_hears_that_a_model_drains(toy_bundle: Bundle) -> None:
    """SIGTERM: NOT_SERVING for the model, then the end of the stream: who watches keeps no server from ending."""
    patience = {"RCNN_DRAIN_TIMEOUT_S": "300"}
    with run_server({"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), **patience}) as server:
        heard: list[int] = []
        with grpc.insecure_channel(server.grpc_address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="toy/1"))
            heard.append(next(watch).status)

            def listen() -> None:
                try:
                    heard.extend(answer.status for answer in watch)
                except grpc.RpcError:
                    pass  # the server is gone

            listener = threading.Thread(target=listen)
            listener.start()
            server.process.terminate()
            listener.join(PATIENCE_S)
            assert not listener.is_alive()
    kinds = health_pb2.HealthCheckResponse
    assert heard == [kinds.SERVING, kinds.NOT_SERVING]


@pytest.fixture(scope="module")
def grpcurl() -> str:
    """The real thing, as deploy/tools/grpcurl.sh builds it, or one on PATH."""
    builder = ROOT / "deploy/tools/grpcurl.sh"
    cached = subprocess.run([builder, "--cached"], capture_output=True, text=True, check=False).stdout.strip()
    found = cached or shutil.which("grpcurl")
    if not found:
        advice = f"no grpcurl: run {builder.relative_to(ROOT)}, or put a grpcurl on PATH"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    return found


def test_grpcurl_finds_its_way_by_reflection(grpcurl: str, fake_served: Served) -> None:
    """It lists, describes, detects, streams, asks for health and prints error details, knowing nothing but the port."""

    def ask(*arguments: str, sent: str = "") -> subprocess.CompletedProcess[str]:
        command = [grpcurl, "-plaintext", *arguments]
        return subprocess.run(command, input=sent, capture_output=True, text=True, timeout=60, check=False)

    address, detect = fake_served.grpc_address, "rcnn.v1.DetectionService/Detect"
    assert "rcnn.v1.DetectionService" in ask(address, "list").stdout.split()
    described = ask(address, "describe", "rcnn.v1.DetectStreamResponse").stdout
    assert ".rcnn.v1.Status error = 3" in described
    image = base64.b64encode(GOOD).decode()
    found = json.loads(ask("-d", "@", address, detect, sent=json.dumps({"image": image})).stdout)
    assert found["model"]["name"] == "toy" and found["detections"][0]["label"] == "thing"
    two = json.dumps({"image": image}) + json.dumps({"image": "aGVsbG8="})
    streamed = ask("-d", "@", address, f"{detect}Stream", sent=two).stdout
    assert '"index": "1"' in streamed and "unsupported_media_type" in streamed
    health = ask("-d", '{"service": "toy"}', address, "grpc.health.v1.Health/Check")
    assert json.loads(health.stdout) == {"status": "SERVING"}
    refused = ask("-d", "@", address, detect, sent=json.dumps({"image": image, "options": {"score_threshold": 2}}))
    assert refused.returncode != 0
    assert "INVALID_OPTION" in refused.stderr and '"field": "score_threshold"' in refused.stderr
