"""Both doors against a real server process on the fake engine: same answers, clear errors, and the service goes on."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from tests.conftest import Served, encode_picture

Picture = Callable[..., bytes]
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def client(fake_served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake_served.http_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def channel(fake_served: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(fake_served.grpc_address, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield channel


def test_a_raw_image_is_answered(client: httpx.Client, picture: Picture) -> None:
    """The whole answer, in the shape of the contract."""
    answer = client.post("/v1/detect", content=picture(80, 60, 255), headers=PNG | {"X-Request-Id": "mine"}).json()
    assert answer["model"]["name"] == "toy" and answer["model"]["digest"].startswith("sha256:")
    assert answer["image"] == {"width": 80, "height": 60}
    assert answer["request_id"] == "mine"
    assert {"decode", "preprocess", "queue", "detector", "nms", "encode", "total"} <= set(answer["timings_ms"])
    (found,) = answer["detections"]
    assert (found["label"], found["label_id"]) == ("thing", 1)
    assert found["score"] == pytest.approx(1.0, abs=1e-3)
    assert found["box"] == pytest.approx([20, 15, 60, 45], abs=0.6)


def test_multipart_and_json_answer_in_order(client: httpx.Client, picture: Picture) -> None:
    """Several images of several sizes, one result each."""
    bodies = [picture(80, 60, 10), picture(60, 80, 200), picture(64, 64, 90)]
    alone = [client.post("/v1/detect", content=body).json()["detections"] for body in bodies]
    multipart = client.post("/v1/detect", files=[("image", ("x", body)) for body in bodies])
    as_json = client.post("/v1/detect", json={"images": [{"b64": base64.b64encode(body).decode()} for body in bodies]})
    for response in (multipart, as_json):
        assert [result["detections"] for result in response.json()["results"]] == alone


@pytest.mark.parametrize("masks", ["rle", "polygon", "png", "raw"])
def test_masks_come_as_asked(client: httpx.Client, picture: Picture, masks: str) -> None:
    """Each format has its own members."""
    answer = client.post("/v1/detect", params={"masks": masks}, content=picture(80, 60)).json()
    keys = {"rle": {"size", "counts"}, "polygon": {"polygons"}, "png": {"origin", "png"}, "raw": {"size", "raw"}}[masks]
    assert set(answer["detections"][0]["mask"]) == keys


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
def test_a_drawn_picture_is_answered_where_asked_for(client: httpx.Client, picture: Picture, kind: str) -> None:
    """Accept chooses the picture with boxes and masks on it."""
    response = client.post("/v1/detect", content=picture(80, 60, 0), headers={"Accept": kind})
    assert response.headers["content-type"] == kind
    assert response.content[:3] == {"image/png": b"\x89PN", "image/jpeg": b"\xff\xd8\xff"}[kind]


def test_grpc_gives_the_same_answer(client: httpx.Client, channel: grpc.Channel, picture: Picture) -> None:
    """Box by box, and mask by mask."""
    body = picture(80, 60, 77)
    rest = client.post("/v1/detect", params={"masks": "rle"}, content=body).json()
    request = pb.DetectRequest(image=body, options=pb.DetectOptions(masks=pb.MASK_FORMAT_RLE))
    ours = pb_grpc.DetectionServiceStub(channel).Detect(request, metadata=(("x-request-id", "mine"),))
    assert ours.request_id == "mine" and ours.model.name == "toy"
    (theirs,) = rest["detections"]
    (found,) = ours.detections
    assert [found.box.x1, found.box.y1, found.box.x2, found.box.y2] == pytest.approx(theirs["box"], abs=1e-3)
    assert found.score == pytest.approx(theirs["score"], abs=1e-5)
    assert found.rle.counts == theirs["mask"]["counts"]


# (what is wrong, options, body, HTTP status, gRPC code, words); options by their REST names
BAD = [
    ("empty body", {}, b"", 400, "INVALID_ARGUMENT", "empty"),
    ("text", {}, b"hello", 415, "INVALID_ARGUMENT", "JPEG, PNG"),
    ("truncated", {}, encode_picture(300, 200, format="JPEG")[:700], 422, "INVALID_ARGUMENT", "cannot be decoded"),
    ("too many bytes", {}, bytes(21_000_000), 413, "RESOURCE_EXHAUSTED", ""),
    ("score above 1", {"score_threshold": 1.5}, encode_picture(9, 9), 400, "INVALID_ARGUMENT", "score_threshold"),
    (
        "score not a number",
        {"score_threshold": float("nan")},
        encode_picture(9, 9),
        400,
        "INVALID_ARGUMENT",
        "score_threshold",
    ),
    ("negative overlap", {"iou_threshold": -1}, encode_picture(9, 9), 400, "INVALID_ARGUMENT", "iou_threshold"),
    ("no detections", {"max_detections": 0}, encode_picture(9, 9), 400, "INVALID_ARGUMENT", "max_detections"),
    ("unknown class", {"classes": ["cat"]}, encode_picture(9, 9), 400, "INVALID_ARGUMENT", "thing, other"),
]


@pytest.mark.parametrize(
    ("options", "body", "status", "code", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_both_doors_refuse_the_same_things(
    client: httpx.Client,
    channel: grpc.Channel,
    options: dict[str, object],
    body: bytes,
    status: int,
    code: str,
    words: str,
) -> None:
    """Bad input gets its problem document or status, naming what is wrong; the next request is answered."""
    response = client.post("/v1/detect", params=options, content=body, headers=PNG)
    problem = response.json()
    assert response.status_code == problem["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert words in problem["detail"] and problem["code"] and problem["request_id"]
    with pytest.raises(grpc.RpcError) as refused:
        pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=body, options=pb.DetectOptions(**options)))
    assert refused.value.code().name == code
    assert words in refused.value.details()
    assert client.post("/v1/detect", content=encode_picture(9, 9)).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        pytest.param({"url": "/v1/detect?nonsense=1", "content": b"x"}, 400, "invalid_option", id="unknown option"),
        pytest.param({"url": "/v1/detect?nms=fuzzy", "content": b"x"}, 400, "invalid_option", id="unknown nms"),
        pytest.param(
            {"url": "/v1/detect", "headers": {"X-Request-Timeout-Ms": "soon"}}, 400, "invalid_option", id="deadline"
        ),
        pytest.param(
            {"url": "/v1/models/none/detect", "content": encode_picture(9, 9)}, 404, "model_not_found", id="model"
        ),
        pytest.param(
            {"url": "/v1/detect?version=9", "content": encode_picture(9, 9)}, 404, "model_not_found", id="version"
        ),
        pytest.param({"url": "/v1/detect", "json": {"images": []}}, 400, "invalid_request", id="no images"),
        pytest.param(
            {"url": "/v1/detect", "json": {"images": [{"b64": "?"}]}}, 400, "invalid_request", id="not base64"
        ),
        pytest.param(
            {"url": "/v1/detect", "json": {"images": [{"b64": ""}] * 17}}, 400, "invalid_request", id="17 images"
        ),
        pytest.param({"url": "/v1/detect", "files": [("file", b"x")]}, 400, "invalid_request", id="wrong part"),
        pytest.param({"url": "/v1/detect", "json": {"images": [{"b64": "é"}]}}, 400, "invalid_request", id="not ASCII"),
        pytest.param(
            {"url": "/v1/detect?masks=rle", "json": {"images": [{"b64": "aGk="}], "masks": "png"}},
            400,
            "invalid_option",
            id="two places",
        ),
        pytest.param(
            {"url": "/v1/detect", "content": encode_picture(70_000, 1), "headers": {"Accept": "image/jpeg"}},
            413,
            "image_too_large",
            id="too wide for JPEG",
        ),
        pytest.param({"url": "/v1/detect", "files": [("image", b"x")] * 17}, 400, "invalid_request", id="17 parts"),
        pytest.param(
            {"url": "/v1/detect", "content": encode_picture(9, 9), "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "invalid_request",
            id="no boundary",
        ),
        pytest.param(
            {"url": "/v1/detect", "content": encode_picture(9, 9), "headers": {"Content-Type": "application/json"}},
            400,
            "invalid_request",
            id="an image called JSON",
        ),
        pytest.param(
            {"url": "/v1/detect", "content": b'{"images": []}', "headers": {"Content-Type": "image/png"}},
            415,
            "unsupported_media_type",
            id="JSON called an image",
        ),
        pytest.param(
            {"url": "/v1/detect", "json": {"images": [{"b64": "aGk="}], "nonsense": 1}},
            400,
            "invalid_option",
            id="unknown member",
        ),
        pytest.param({"url": "/v1/detect?masks=rle&masks=png", "content": b"x"}, 400, "invalid_option", id="twice"),
        pytest.param({"url": "/v1/nothing"}, 404, "not_found", id="no such route"),
        pytest.param({"url": "/livez"}, 405, "method_not_allowed", id="wrong method"),
    ],
)
def test_rest_explains_what_only_rest_can_get_wrong(
    client: httpx.Client, request_: dict[str, object], status: int, code: str
) -> None:
    """Every refusal is a problem document with a stable code."""
    response = client.post(**request_)  # type: ignore[arg-type]
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_an_impossible_deadline_is_an_error_not_a_wait(
    client: httpx.Client, channel: grpc.Channel, picture: Picture
) -> None:
    """One millisecond is not enough for an engine of 20: refused or timed out, on both doors."""
    response = client.post("/v1/detect", content=picture(64, 64), headers={"X-Request-Timeout-Ms": "1"})
    assert response.status_code in (429, 504)
    with pytest.raises(grpc.RpcError) as refused:
        pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=picture(64, 64)), timeout=0.001)
    assert refused.value.code().name in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


def test_both_doors_know_two_priorities(client: httpx.Client, channel: grpc.Channel, picture: Picture) -> None:
    """high is answered like normal; anything else is explained."""
    detect = pb_grpc.DetectionServiceStub(channel).Detect
    request = pb.DetectRequest(image=picture(64, 64))
    for sent, status in (("high", 200), ("normal", 200), ("urgent", 400)):
        headers = {"X-Request-Priority": sent}
        assert client.post("/v1/detect", content=request.image, headers=headers).status_code == status
    assert len(detect(request, metadata=(("x-request-priority", "high"),)).detections) == 1
    with pytest.raises(grpc.RpcError, match="expected normal or high, got 'urgent'"):
        detect(request, metadata=(("x-request-priority", "urgent"),))


def test_a_caller_who_hangs_up_is_dropped(fake_served: Served) -> None:
    """Thirty clients send an image and leave: most of their images never reach the engine, and each is counted."""
    before = _counted(fake_served, 'rcnn_cancelled_total{stage="request"}')
    host, port = fake_served.http_url.removeprefix("http://").split(":")
    body = encode_picture(64, 64)
    for _ in range(30):
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
    deadline = time.monotonic() + 20
    while _counted(fake_served, 'rcnn_cancelled_total{stage="request"}') < before + 20:
        assert time.monotonic() < deadline, "the callers who left were answered"
    assert httpx.post(f"{fake_served.http_url}/v1/detect", content=body).status_code == 200


def _counted(server: Served, series: str) -> float:
    lines = httpx.get(f"{server.metrics_url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(series))


def test_probes_models_and_openapi_answer(client: httpx.Client) -> None:
    """What Kubernetes, a client and a browser ask first."""
    assert [client.get(probe).status_code for probe in ("/livez", "/readyz", "/startupz")] == [200, 200, 200]
    (model,) = client.get("/v1/models").json()["models"]
    assert model["labels"] == ["thing", "other"] and model["default"] and model["engine"] == "fake"
    assert client.get("/v1/models/toy").json() == model
    document = client.get("/openapi.json").json()
    assert "/v1/models/{name}/detect" in document["paths"] and "JsonBody" in document["components"]["schemas"]


def test_grpc_health_and_reflection_answer(channel: grpc.Channel) -> None:
    """What a mesh and grpcurl ask first."""
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "rcnn.v1.DetectionService"):
        assert (
            health.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
        )
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    (listed,) = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    assert "rcnn.v1.DetectionService" in {service.name for service in listed.list_services_response.service}


def test_one_corrupt_image_among_eight_fails_alone(fake_served: Served, picture: Picture) -> None:
    """Eight at once, one of them cut short: seven answers, one explanation."""
    good, corrupt = picture(100, 80), encode_picture(300, 200, format="JPEG")[:700]

    async def all_at_once() -> list[int]:
        async with httpx.AsyncClient(base_url=fake_served.http_url, timeout=30) as client:
            bodies = [corrupt if index == 3 else good for index in range(8)]
            responses = await asyncio.gather(*(client.post("/v1/detect", content=body) for body in bodies))
        return [response.status_code for response in responses]

    assert asyncio.run(all_at_once()) == [200, 200, 200, 422, 200, 200, 200, 200]


def test_metrics_count_what_happened(client: httpx.Client, fake_served: Served, picture: Picture) -> None:
    """A good and a bad request appear under their names."""
    client.post("/v1/detect", content=picture(64, 64))
    client.post("/v1/detect", content=b"hello")
    client.post("/v1/detect?nonsense=1", content=picture(64, 64))
    text = httpx.get(f"{fake_served.metrics_url}/metrics").text
    assert 'rcnn_requests_total{model="toy",outcome="ok",protocol="rest",version="1"}' in text
    assert 'rcnn_rejected_inputs_total{reason="unsupported_media_type"}' in text
    assert 'rcnn_rejected_inputs_total{reason="invalid_option"}' in text
    assert 'rcnn_requests_total{model="toy",outcome="unsupported_media_type",protocol="rest",version="1"}' in text
    assert 'rcnn_stage_duration_seconds_bucket{le="0.025",model="toy",stage="detector"}' in text
    assert "rcnn_batch_size_bucket" in text and "rcnn_model_info" in text
    assert json.loads(httpx.get(f"{fake_served.http_url}/readyz").text) == {"status": "ready"}
