"""Every limit, met over the wire: the answer says which, the metrics count it, and everybody else is served."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server
from tests.patience import eventually

PICTURE = encode_picture(64, 64)


@pytest.fixture(scope="module")
def tight(toy_bundle: Bundle) -> Iterator[Served]:
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_HEADER_TIMEOUT_MS": "600",
        "RCNN_BODY_TIMEOUT_MS": "600",
        "RCNN_MAX_HEADER_BYTES": "4096",
        "RCNN_MAX_CONNECTIONS": "10",
        "RCNN_MAX_GRPC_CALLS": "3",
        "RCNN_MAX_REQUEST_BYTES": "1000000",
        "RCNN_BODY_MEMORY_MB": "4",
        "RCNN_MAX_IMAGE_SIDE_PX": "500",
    }
    with run_server(environment) as server:
        yield server


def connection(server: Served, sent: bytes = b"") -> socket.socket:
    address = urlsplit(server.http_url)
    client = socket.create_connection((address.hostname, address.port), timeout=20)
    client.sendall(sent)
    return client


def answer_on(client: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    with client:
        while piece := client.recv(65_536):
            received += piece
    return received


def status_on(client: socket.socket) -> int:
    """Of one answer, read to its end: head and body may come in two pieces, and the connection is kept."""
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


def counted(server: Served, line: str) -> float:
    text = httpx.get(f"{server.metrics_url}/metrics").text
    return next((float(row.split()[-1]) for row in text.splitlines() if row.startswith(line)), 0.0)


def is_served(server: Served) -> bool:
    return httpx.post(f"{server.http_url}/v1/detect", content=PICTURE).status_code == 200


def test_a_head_too_large_is_refused(tight: Served) -> None:
    """Whole, by a problem document; endless, as soon as it is over the limit."""
    refused = httpx.get(f"{tight.http_url}/livez", headers={"X-Long": "x" * 5_000})
    assert (refused.status_code, refused.json()["code"]) == (431, "header_too_large")
    endless = answer_on(connection(tight, b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 5_000))
    assert endless.startswith(b"HTTP/1.1 431 ")
    assert counted(tight, 'rcnn_rejected_inputs_total{reason="header_too_large"}') >= 2
    assert is_served(tight)


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", b"GET /livez HTTP/1.1\r\nHost: me\r\n"], ids=["nothing", "blank", "half"]
)
def test_a_head_too_slow_ends_the_connection(tight: Served, sent: bytes) -> None:
    """Who sends nothing, or half a head, is let go; half a head is answered."""
    answer = answer_on(connection(tight, sent))
    assert answer.startswith(b"HTTP/1.1 408 ") if sent.startswith(b"GET") else answer == b""
    assert is_served(tight)


def test_the_head_of_a_second_request_has_its_time_too(tight: Served) -> None:
    """A kept connection is no way around the limit."""
    client = connection(tight, b"GET /livez HTTP/1.1\r\nHost: me\r\n\r\n")
    assert status_on(client) == 200
    client.sendall(b"GET /livez HT")
    assert b"HTTP/1.1 408 " in answer_on(client)


def test_a_body_too_slow_is_408_and_its_rest_is_not_waited_for(tight: Served) -> None:
    """Half a picture, then nothing: a problem document, and the connection ends."""
    client = connection(tight, b"POST /v1/detect HTTP/1.1\r\nHost: me\r\nContent-Length: 1000\r\n\r\nhalf")
    answer = answer_on(client)
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"body_too_slow"' in answer
    assert counted(tight, 'rcnn_rejected_inputs_total{reason="body_too_slow"}') >= 1


def test_all_bodies_together_have_one_memory(toy_bundle: Bundle) -> None:
    """Two bodies of a megabyte on their way, and no room for a third; when they end there is room again."""
    head = b"POST /v1/detect HTTP/1.1\r\nHost: me\r\nContent-Length: 1000000\r\n\r\n"
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), "RCNN_BODY_MEMORY_MB": "4"}
    with run_server({**environment, "RCNN_MAX_REQUEST_BYTES": "1000000"}) as server:
        with connection(server, head + bytes(950_000)), connection(server, head + bytes(950_000)):
            eventually(lambda: counted(server, "rcnn_body_memory_bytes") >= 3_700_000)
            refused = httpx.post(f"{server.http_url}/v1/detect", content=bytes(900_000))
            assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
            assert refused.headers["retry-after"]
            assert counted(server, 'rcnn_shed_total{reason="body_memory"}') >= 1
        eventually(lambda: counted(server, "rcnn_body_memory_bytes") == 0)
        assert is_served(server)


def test_idle_connections_cannot_keep_others_out(tight: Served) -> None:
    """Three times as many as there may be: those idle the longest are closed, and a request still finds its way in."""
    with ExitStack() as held:
        for _ in range(30):
            held.enter_context(connection(tight))
        assert is_served(tight)
        closed_by = time.monotonic() + 5
        while counted(tight, 'rcnn_shed_total{reason="connections"}') < 20 and time.monotonic() < closed_by:
            time.sleep(0.02)  # room is made a moment after they came
        assert counted(tight, 'rcnn_shed_total{reason="connections"}') >= 20


def test_resting_connections_are_the_first_to_go(tight: Served) -> None:
    """Connections that have had their answer keep nobody out either, however long they may rest."""
    shed = 'rcnn_shed_total{reason="connections"}'
    before = counted(tight, shed)
    with ExitStack() as held:
        for _ in range(30):
            resting = held.enter_context(connection(tight, b"GET /livez HTTP/1.1\r\nHost: me\r\n\r\n"))
            assert status_on(resting) == 200
        assert is_served(tight)
        eventually(lambda: counted(tight, shed) >= before + 20)


def test_silent_connections_take_no_kept_one_from_a_caller(tight: Served) -> None:
    """Three times the room in connections that say nothing: one that had its answer
    before them brings its next request."""
    ask = b"GET /livez HTTP/1.1\r\nHost: me\r\n\r\n"
    shed = 'rcnn_shed_total{reason="connections"}'
    with ExitStack() as held:
        kept = held.enter_context(connection(tight, ask))
        assert status_on(kept) == 200
        before = counted(tight, shed)
        for _ in range(30):
            held.enter_context(connection(tight))
        eventually(lambda: counted(tight, shed) >= before + 20)
        kept.sendall(ask)
        assert status_on(kept) == 200


def test_a_connection_may_rest_for_so_long(toy_bundle: Bundle) -> None:
    """Then the server closes it, without a word."""
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), "RCNN_KEEP_ALIVE_S": "0.3"}
    with run_server(environment) as server:
        assert answer_on(connection(server, b"GET /livez HTTP/1.1\r\nHost: me\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


def test_deep_json_is_a_bad_request(tight: Served) -> None:
    """A hundred thousand brackets are refused by every door that reads JSON."""
    deep = '{"images": ' + "[" * 100_000 + "]" * 100_000 + "}"
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": 0}
    deep_tensor = json.dumps({"inputs": [tensor]}).replace('"data": 0', '"data": ' + "[" * 900 + "1" + "]" * 900)
    for path, body in (("v1/detect", deep), ("v2/models/toy/infer", deep), ("v2/models/toy/infer", deep_tensor)):
        headers = {"Content-Type": "application/json"}
        assert httpx.post(f"{tight.http_url}/{path}", content=body, headers=headers).status_code == 400
    assert is_served(tight)


def test_a_body_over_its_limit_and_a_side_over_its_limit_are_413(tight: Served) -> None:
    """Both say what is allowed."""
    form = httpx.post(f"{tight.http_url}/v1/detect", files=[("image", bytes(1_200_000))])
    long = httpx.post(f"{tight.http_url}/v1/detect", content=encode_picture(501, 2))
    assert (form.status_code, form.json()["code"]) == (413, "payload_too_large") and "1000000" in form.text
    assert (long.status_code, long.json()["code"]) == (413, "image_too_large") and "500" in long.text


def test_grpc_bounds_metadata_and_calls(tight: Served) -> None:
    """Metadata over the limit and a call too many are RESOURCE_EXHAUSTED; a place given back is a place."""
    with grpc.insecure_channel(tight.grpc_address) as channel:
        stub, request = pb_grpc.DetectionServiceStub(channel), pb.DetectRequest(image=PICTURE)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Detect(request, metadata=[("x-long", "x" * 9_000)])
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own: on a shared one the fourth call just waits
    with (
        grpc.insecure_channel(tight.grpc_address) as channel,
        grpc.insecure_channel(tight.grpc_address, options=own) as other,
    ):
        over = threading.Event()
        streams = [
            pb_grpc.DetectionServiceStub(channel).DetectStream(and_then_silence(request, over)) for _ in range(3)
        ]
        assert all(next(stream).answer.detections for stream in streams)
        with pytest.raises(grpc.RpcError) as refused:
            pb_grpc.DetectionServiceStub(other).Detect(request)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        over.set()
        for stream in streams:
            stream.cancel()
        assert detected_when_there_is_room(pb_grpc.DetectionServiceStub(other), request)


def detected_when_there_is_room(stub: pb_grpc.DetectionServiceStub, request: pb.DetectRequest) -> bool:
    """A cancelled call gives its place back once the server has heard of it: soon, not at once."""
    until = time.monotonic() + 10
    while True:
        try:
            return bool(stub.Detect(request).detections)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > until:
                raise
            time.sleep(0.02)


def and_then_silence(request: pb.DetectRequest, over: threading.Event) -> Iterator[pb.DetectRequest]:
    """One request, and then a caller who says nothing more."""
    yield request
    over.wait(30)
