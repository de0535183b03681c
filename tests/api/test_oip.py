"""The Open Inference Protocol's own words at both of its doors, on the fake engine. Its clients: test_oip_clients."""

import asyncio
import gzip
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from service.api.grpc.proto import inference_pb2 as pb
from service.api.grpc.proto import inference_pb2_grpc as pb_grpc
from service.api.oip.tensors import join_elements
from service.bundle import Bundle, write_bundle
from tests.conftest import MANIFEST, Served, encode_picture, run_server
from tests.patience import PATIENCE_S

Tensor = pb.ModelInferRequest.InferInputTensor


@pytest.fixture(scope="module")
def http(fake_served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake_served.http_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def stub(fake_served: Served) -> Iterator[Any]:
    with grpc.insecure_channel(fake_served.grpc_address, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)


def rest_body(tensors: list[dict[str, Any]], raws: list[bytes], **members: Any) -> dict[str, Any]:
    """Keywords of a REST request with every tensor binary."""
    sized = [t | {"parameters": {"binary_data_size": len(raw)}} for t, raw in zip(tensors, raws, strict=True)]
    header = json.dumps({"inputs": sized, **members}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    return {"content": header + b"".join(raws), "headers": headers}


def grpc_parameters(sent: dict[str, Any]) -> dict[str, pb.InferParameter]:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return {name: pb.InferParameter(**{kinds[type(value)]: value}) for name, value in sent.items()}


PICTURE = encode_picture(80, 60, 255)
IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1]}
GOOD = join_elements([PICTURE])


def with_image(**changes: Any) -> dict[str, Any]:
    return {"tensors": [IMAGE | changes]}


# (what is wrong, how the request differs from a good one, HTTP status, gRPC code, words)
BAD: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("wrong dtype", with_image(datatype="FP32"), 400, "INVALID_ARGUMENT", "expected datatype BYTES"),
    ("wrong shape", with_image(shape=[1, 1]), 400, "INVALID_ARGUMENT", "expected shape [N]"),
    ("wrong name", with_image(name="x"), 400, "INVALID_ARGUMENT", "expected image or pixels"),
    ("no inputs", {"tensors": [], "raws": []}, 400, "INVALID_ARGUMENT", "expected exactly one"),
    ("truncated", {"raws": [GOOD[:-1]]}, 400, "INVALID_ARGUMENT", "are left"),
    ("bytes too many", {"raws": [GOOD + b"x"]}, 400, "INVALID_ARGUMENT", "1 bytes are left behind"),
    ("too many images", with_image(shape=[17]), 400, "INVALID_ARGUMENT", "17 images; from 1 to 16"),
    ("not an image", {"raws": [join_elements([b"hello"])]}, 415, "INVALID_ARGUMENT", "expected JPEG"),
    ("no bytes", {"raws": [join_elements([b""])]}, 400, "INVALID_ARGUMENT", "empty"),
    ("image cut short", {"raws": [join_elements([PICTURE[:60]])]}, 422, "INVALID_ARGUMENT", "cannot be decoded"),
    (
        "one of two broken",
        with_image(shape=[2]) | {"raws": [join_elements([PICTURE, b"hello"])]},
        415,
        "INVALID_ARGUMENT",
        "Image 2 of 2",
    ),
    (
        "too many pixels",
        {"tensors": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 10_000, 10_000, 3]}], "raws": [b"x"]},
        413,
        "INVALID_ARGUMENT",
        "at most 50000000",
    ),
    (
        "pixels too few",
        {"tensors": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 9, 9, 3]}], "raws": [b"x"]},
        400,
        "INVALID_ARGUMENT",
        "says 243 bytes, 1 came",
    ),
    ("unknown model", {"model": "none"}, 404, "NOT_FOUND", "No model none"),
    ("unknown version", {"version": "9"}, 404, "NOT_FOUND", "No model toy version 9"),
    ("unknown output", {"outputs": ["x"]}, 400, "INVALID_ARGUMENT", "it has boxes, scores"),
    ("an output twice", {"outputs": ["boxes", "boxes"]}, 400, "INVALID_ARGUMENT", "twice"),
    ("unknown parameter", {"parameters": {"x": 1}}, 400, "INVALID_ARGUMENT", "x"),
    ("out of range", {"parameters": {"score_threshold": 1.5}}, 400, "INVALID_ARGUMENT", "score_threshold"),
    ("wrong kind", {"parameters": {"iou_threshold": "much"}}, 400, "INVALID_ARGUMENT", "iou_threshold"),
    ("unknown class", {"parameters": {"classes": "cat"}}, 400, "INVALID_ARGUMENT", "thing, other"),
    ("other masks", {"parameters": {"masks": "png"}}, 400, "INVALID_ARGUMENT", "masks"),
]


@pytest.mark.parametrize(("change", "status", "code", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_both_doors_refuse_the_same_things(
    http: httpx.Client, stub: Any, change: dict[str, Any], status: int, code: str, words: str
) -> None:
    """An error as the protocol writes it, naming what is wrong; the next request is answered."""
    asked = {
        "tensors": [IMAGE],
        "raws": [GOOD],
        "outputs": [],
        "parameters": {},
        "model": "toy",
        "version": "",
    } | change
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in asked["outputs"]]
    path = f"/v2/models/{asked['model']}{'/versions/' + asked['version'] if asked['version'] else ''}/infer"
    body = rest_body(asked["tensors"], asked["raws"], outputs=outputs, parameters=asked["parameters"])
    response = http.post(path, **body)
    assert response.status_code == status and set(response.json()) == {"error"}, response.text
    assert words in response.json()["error"] and response.headers["x-request-id"]
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(
            pb.ModelInferRequest(
                model_name=asked["model"],
                model_version=asked["version"],
                inputs=[Tensor(**tensor) for tensor in asked["tensors"]],
                outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in asked["outputs"]],
                parameters=grpc_parameters(asked["parameters"]),
                raw_input_contents=asked["raws"],
            )
        )
    assert refused.value.code().name == code and words in refused.value.details()
    assert http.post("/v2/models/toy/infer", **rest_body([IMAGE], [GOOD])).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        pytest.param({"content": b"hello"}, 400, "not JSON", id="not JSON"),
        pytest.param({"content": b"{}", "headers": {"Inference-Header-Content-Length": "9"}}, 400, "says 9", id="lie"),
        pytest.param({"content": b"hello", "headers": {"Content-Encoding": "gzip"}}, 400, "not gzip", id="not gzip"),
        pytest.param({"content": b"x", "headers": {"Content-Encoding": "br"}}, 415, "gzip or deflate", id="brotli"),
        pytest.param(
            {"content": gzip.compress(b"{}")[:-4], "headers": {"Content-Encoding": "gzip"}}, 400, "cut", id="cut short"
        ),
        pytest.param({"json": {"inputs": [], "model_name": "x"}}, 400, "the path 'toy'", id="another model's name"),
        pytest.param(
            {"json": {"inputs": []}, "headers": {"X-Request-Timeout-Ms": "soon"}},
            400,
            "X-Request-Timeout",
            id="deadline",
        ),
    ],
)
def test_rest_explains_what_only_rest_can_get_wrong(
    http: httpx.Client, request_: dict[str, Any], status: int, words: str
) -> None:
    """Headers, wrappings, JSON."""
    response = http.post("/v2/models/toy/infer", **request_)
    assert response.status_code == status and words in response.json()["error"]


def test_grpc_explains_what_only_grpc_can_get_wrong(stub: Any) -> None:
    """Contents in the wrong field, in two places, or for another number of inputs."""
    tensor = Tensor(**IMAGE)
    two_places = Tensor(**IMAGE, contents=pb.InferTensorContents(bytes_contents=[PICTURE]))
    wrong_field = Tensor(**IMAGE, contents=pb.InferTensorContents(fp32_contents=[1.0]))
    for request, words in (
        (pb.ModelInferRequest(inputs=[tensor], raw_input_contents=[GOOD, GOOD]), "2 entries for 1 inputs"),
        (pb.ModelInferRequest(inputs=[two_places], raw_input_contents=[GOOD]), "both contents and raw"),
        (pb.ModelInferRequest(inputs=[wrong_field]), "belongs into bytes_contents"),
        (pb.ModelInferRequest(inputs=[tensor], parameters={"nms": pb.InferParameter()}), "'nms' has no value"),
    ):
        request.model_name = "toy"
        with pytest.raises(grpc.RpcError, match=words) as refused:
            stub.ModelInfer(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_contents_may_be_typed(stub: Any) -> None:
    """bytes_contents and uint_contents, as clients without raw contents send them."""
    image = Tensor(**IMAGE, contents=pb.InferTensorContents(bytes_contents=[PICTURE]))
    values = pb.InferTensorContents(uint_contents=[255] * (60 * 80 * 3))
    pixels = Tensor(name="pixels", datatype="UINT8", shape=[1, 60, 80, 3], contents=values)
    answers = [stub.ModelInfer(pb.ModelInferRequest(model_name="toy", inputs=[sent])) for sent in (image, pixels)]
    assert answers[0].raw_output_contents == answers[1].raw_output_contents


def test_only_requested_outputs_are_sent_in_their_order(http: httpx.Client) -> None:
    """Binary and JSON as asked for one by one; masks=none leaves requested masks empty."""
    asked = [{"name": "scores"}, {"name": "masks"}, {"name": "labels", "parameters": {"binary_data": True}}]
    body = rest_body([IMAGE], [GOOD], outputs=asked, parameters={"masks": "none"}, id="mine")
    response = http.post("/v2/models/toy/versions/1/infer", **body)
    answer = json.loads(response.content[: int(response.headers["inference-header-content-length"])])
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "toy", "1")
    scores, masks, labels = answer["outputs"]
    assert (scores["name"], scores["datatype"], scores["shape"]) == ("scores", "FP32", [1, 1])
    assert (masks["name"], masks["shape"], masks["data"]) == ("masks", [1, 1], [""])
    assert labels["parameters"] == {"binary_data_size": 8}
    assert response.content[-8:] == (1).to_bytes(8, "little")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_requests_are_unpacked(http: httpx.Client, encoding: str) -> None:
    """The header's length counts unpacked bytes."""
    body = rest_body([IMAGE], [GOOD])
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](body["content"])
    headers = body["headers"] | {"Content-Encoding": encoding}
    plain = http.post("/v2/models/toy/infer", **body).content
    assert http.post("/v2/models/toy/infer", content=packed, headers=headers).content == plain


def test_images_of_one_request_are_padded_to_the_most_detections(http: httpx.Client) -> None:
    """A bright image has one detection, a dark one has none at this threshold: its row is zeros."""
    raw = join_elements([PICTURE, encode_picture(80, 60, 0)])
    tensor = IMAGE | {"shape": [2]}
    answer = http.post("/v2/models/toy/infer", **rest_body([tensor], [raw], parameters={"score_threshold": 0.9})).json()
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["num_detections"]["data"] == [1, 0]
    assert outputs["boxes"]["shape"] == [2, 1, 4] and outputs["boxes"]["data"][4:] == [0, 0, 0, 0]
    assert outputs["labels"]["data"] == [1, 0] and outputs["masks"]["data"][1] == ""


def test_both_doors_tell_the_same_about_server_and_models(http: httpx.Client, stub: Any) -> None:
    """Live, ready, metadata, configuration."""
    assert http.get("/v2/health/live").json() == {"live": True} and stub.ServerLive(pb.ServerLiveRequest()).live
    assert http.get("/v2/health/ready").json() == {"ready": True} and stub.ServerReady(pb.ServerReadyRequest()).ready
    assert http.get("/v2/models/toy/ready").status_code == 200
    assert stub.ModelReady(pb.ModelReadyRequest(name="toy", version="1")).ready
    told = MessageToDict(stub.ServerMetadata(pb.ServerMetadataRequest()), preserving_proto_field_name=True)
    assert http.get("/v2").json() == told and "system_shared_memory" not in told["extensions"]
    metadata = http.get("/v2/models/toy").json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["image", "pixels"]
    assert metadata["outputs"][0] == {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]}
    message = pb.ModelMetadataResponse(platform=metadata["platform"], name="toy", versions=["1"])
    for kind in ("inputs", "outputs"):
        for tensor in metadata[kind]:
            getattr(message, kind).add(**tensor)
    assert stub.ModelMetadata(pb.ModelMetadataRequest(name="toy")) == message
    config = stub.ModelConfig(pb.ModelConfigRequest(name="toy")).config
    assert config.input[0].optional and http.get("/v2/models/toy/config").json()["max_batch_size"] == 0


def test_statistics_count_requests_images_and_batches(toy_bundle: Bundle) -> None:
    """Two requests of three images, one refused; both doors and the metrics agree."""
    with run_server({"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root)}) as server:
        raw = join_elements([PICTURE] * 3)
        for _ in range(2):
            httpx.post(f"{server.http_url}/v2/models/toy/infer", **rest_body([IMAGE | {"shape": [3]}], [raw]))
        httpx.post(f"{server.http_url}/v2/models/toy/infer", content=b"hello")
        (told,) = httpx.get(f"{server.http_url}/v2/models/stats").json()["model_stats"]
        with grpc.insecure_channel(server.grpc_address) as channel:
            (message,) = (
                pb_grpc.GRPCInferenceServiceStub(channel)
                .ModelStatistics(pb.ModelStatisticsRequest(name="toy"))
                .model_stats
            )
        metrics = httpx.get(f"{server.metrics_url}/metrics").text
    stats = told["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"], told["inference_count"]) == (2, 1, 6)
    batches = sum(row["compute_infer"]["count"] for row in told["batch_stats"])
    assert told["execution_count"] == batches and f'rcnn_batch_size_count{{model="toy"}} {batches:.1f}' in metrics
    assert sum(row["batch_size"] * row["compute_infer"]["count"] for row in told["batch_stats"]) == 6
    assert sum(row["compute_infer"]["ns"] for row in told["batch_stats"]) >= batches * 20e6
    assert all(stats[phase]["count"] == 6 for phase in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert message.inference_stats.success.ns == stats["success"]["ns"] > 0
    assert message.last_inference == told["last_inference"] > 1_700_000_000_000


def test_a_stream_answers_in_order_and_outlives_an_error(stub: Any) -> None:
    """Forty requests of mixed sizes, one of them broken, with their ids."""
    requests = [
        pb.ModelInferRequest(
            model_name="toy",
            id=str(index),
            inputs=[Tensor(**IMAGE)],
            raw_input_contents=[join_elements([b"hello" if index == 7 else encode_picture(60 + index % 5 * 9, 60)])],
        )
        for index in range(40)
    ]
    answers = list(stub.ModelStreamInfer(iter(requests)))
    assert [answer.infer_response.id for answer in answers] == [str(index) for index in range(40)]
    assert [index for index, answer in enumerate(answers) if answer.error_message] == [7]
    assert "expected JPEG" in answers[7].error_message


def test_what_is_not_offered_says_so(http: httpx.Client, stub: Any) -> None:
    """Shared memory, tracing, logging; load and unload where no repository is set; paths nobody knows."""
    for path in ("/v2/systemsharedmemory/status", "/v2/cudasharedmemory/region/x/register", "/v2/logging", "/v2/x"):
        response = http.post(path)
        assert response.status_code == 404 and "not offered" in response.json()["error"]
    shared = {"inputs": [IMAGE | {"parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 9}}]}
    assert "shared memory is not offered" in http.post("/v2/models/toy/infer", json=shared).json()["error"]
    with pytest.raises(grpc.RpcError) as refused:
        stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED and "Not offered" in refused.value.details()
    response = http.post("/v2/repository/models/toy/load")
    assert response.status_code == 403 and "RCNN_MODEL_REPOSITORY" in response.json()["error"]
    with pytest.raises(grpc.RpcError) as refused:
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="toy"))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert http.post("/v2/repository/index").json() == [{"name": "toy", "version": "1", "state": "READY", "reason": ""}]


@pytest.fixture
def repository(tmp_path: Path, toy_bundle: Bundle) -> Path:
    """toy in versions 1, 2 and 10, and one folder whose name lies."""
    for version in ("1", "2", "10"):
        folder = tmp_path / "toy" / version
        folder.mkdir(parents=True)
        for name in ("detector.onnx", "mask_head.onnx"):
            shutil.copy(toy_bundle.root / name, folder)
        write_bundle(folder, MANIFEST | {"version": version})
    shutil.copytree(tmp_path / "toy" / "1", tmp_path / "liar" / "1")
    return tmp_path


def test_models_are_loaded_swapped_and_unloaded_under_load(repository: Path) -> None:
    """Twenty callers all the while, each swap seen by them: it costs none an error, an unload ends in 404."""
    settings = {
        "RCNN_ENGINE": "fake",
        "RCNN_BUNDLES": str(repository / "toy/1"),
        "RCNN_MODEL_REPOSITORY": str(repository),
    }

    async def drive(url: str) -> tuple[list[int], list[str]]:
        statuses, versions, over = [], list[str](), asyncio.Event()
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:

            async def ask() -> None:
                while not over.is_set():
                    response = await client.post("/v1/detect", content=PICTURE)
                    statuses.append(response.status_code)
                    versions.append(response.json()["model"]["version"])

            callers = [asyncio.create_task(ask()) for _ in range(20)]
            for parameters, version in (({"version": "2"}, "2"), ({"config": '{"version": "1"}'}, "1"), ({}, "10")):
                loaded = await client.post("/v2/repository/models/toy/load", json={"parameters": parameters})
                assert loaded.status_code == 200, loaded.text
                seen = len(versions)
                async with asyncio.timeout(PATIENCE_S):
                    while version not in versions[seen:]:
                        await asyncio.sleep(0.02)
            over.set()
            await asyncio.gather(*callers)
        return statuses, versions

    with run_server(settings) as server, httpx.Client(base_url=server.http_url, timeout=30) as http:
        statuses, versions = asyncio.run(drive(server.http_url))
        assert set(statuses) == {200} and set(versions) == {"1", "2", "10"}
        index = {(row["name"], row["version"]): row["state"] for row in http.post("/v2/repository/index").json()}
        assert index.pop(("toy", "10")) == "READY" and set(index.values()) == {"UNAVAILABLE"}
        for name, body, status, words in (
            ("toy", {"parameters": {"version": "9"}}, 404, "it has 1, 2, 10"),
            ("none", {}, 404, "no none"),
            ("..", {}, 404, "not offered"),
            ("a%2e%2e%5cb", {}, 400, "cannot be"),
            ("toy", {"parameters": {"version": "../../etc"}}, 400, "cannot be"),
            ("toy", {"parameters": {"file:1/model": "x"}}, 400, "unknown file:1/model"),
            ("liar", {}, 500, "holds the bundle toy 1"),
        ):
            refused = http.post(f"/v2/repository/models/{name}/load", json=body)
            assert (refused.status_code, words in refused.json()["error"]) == (status, True), refused.text
        assert http.post("/v1/detect", content=PICTURE).json()["model"]["version"] == "10"
        assert http.post("/v2/repository/models/toy/unload").status_code == 200
        assert http.post("/v1/detect", content=PICTURE).status_code == 404
        assert 'version="10"' not in "".join(
            line for line in httpx.get(f"{server.metrics_url}/metrics").text.splitlines() if "rcnn_model_info{" in line
        )
        assert http.post("/v2/repository/models/toy/load").status_code == 200
        assert http.get("/v2/models/toy/versions/10/ready").status_code == 200
