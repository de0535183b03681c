"""One image, one model, every door: identical detections. A new way in is a new row of WAYS."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.api.grpc.proto import inference_pb2 as oip
from service.api.grpc.proto import inference_pb2_grpc as oip_grpc
from service.api.oip.tensors import join_elements, split_elements
from service.images import Limits, decode
from tests.conftest import ZOO, Served, run_server

PICTURE = next((ZOO / "nuclei").glob("*/golden/*.png"))
NAMES = ("boxes", "scores", "labels", "num_detections", "masks")
Row = tuple[int, float, tuple[float, ...], str]  # label id, score, box, RLE counts


@pytest.fixture(scope="module")
def nuclei() -> Iterator[Served]:
    """The shipped segmentation model on ONNX Runtime, one thread."""
    settings = {"RCNN_ENGINE": "onnx", "RCNN_ENGINE_THREADS": "1", "RCNN_BUNDLES": str(ZOO / "nuclei")}
    with run_server(settings) as server:
        yield server


def rows(found: list[dict[str, Any]]) -> list[Row]:
    return [(row["label_id"], row["score"], tuple(row["box"]), row["mask"]["counts"]) for row in found]


def rest_raw(server: Served, image: bytes) -> list[Row]:
    answer = httpx.post(f"{server.http_url}/v1/detect?masks=rle", content=image, timeout=60).json()
    return rows(answer["detections"])


def rest_multipart(server: Served, image: bytes) -> list[Row]:
    files = [("image", ("x", image))]
    answer = httpx.post(f"{server.http_url}/v1/detect?masks=rle", files=files, timeout=60).json()
    return rows(answer["results"][0]["detections"])


def rest_json(server: Served, image: bytes) -> list[Row]:
    body = {"images": [{"b64": base64.b64encode(image).decode()}], "masks": "rle"}
    answer = httpx.post(f"{server.http_url}/v1/detect", json=body, timeout=60).json()
    return rows(answer["results"][0]["detections"])


def rcnn_v1_unary(server: Served, image: bytes) -> list[Row]:
    request = pb.DetectRequest(image=image, options=pb.DetectOptions(masks=pb.MASK_FORMAT_RLE))
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = pb_grpc.DetectionServiceStub(channel).Detect(request)
    return rcnn_v1_rows(answer)


def rcnn_v1_stream(server: Served, image: bytes) -> list[Row]:
    request = pb.DetectRequest(image=image, options=pb.DetectOptions(masks=pb.MASK_FORMAT_RLE))
    with grpc.insecure_channel(server.grpc_address) as channel:
        (response,) = pb_grpc.DetectionServiceStub(channel).DetectStream(iter([request]))
    return rcnn_v1_rows(response.answer)


def rcnn_v1_rows(answer: pb.DetectResponse) -> list[Row]:
    return [
        (
            d.label_id,
            exact(d.score, 6),
            tuple(exact(v, 3) for v in (d.box.x1, d.box.y1, d.box.x2, d.box.y2)),
            d.rle.counts,
        )
        for d in answer.detections
    ]


def oip_json(server: Served, image: bytes) -> list[Row]:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}
    return oip_rest(server, tensor, b"")


def oip_binary(server: Served, image: bytes) -> list[Row]:
    raw = join_elements([image])
    parameters = {"binary_data_size": len(raw)}
    return oip_rest(server, {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": parameters}, raw)


def oip_pixels(server: Served, image: bytes) -> list[Row]:
    pixels = decode(image, Limits(10**6, 10**6))
    parameters = {"binary_data_size": pixels.size}
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, *pixels.shape], "parameters": parameters}
    return oip_rest(server, tensor, pixels.tobytes())


def oip_rest(server: Served, tensor: dict[str, Any], raw: bytes) -> list[Row]:
    """Binary in and out where there is a binary part, JSON both ways where there is none."""
    sent = httpx.Request("POST", "http://x", json={"inputs": [tensor], "parameters": {"binary_data_output": bool(raw)}})
    headers = {"Inference-Header-Content-Length": str(len(sent.content))} if raw else {}
    url = f"{server.http_url}/v2/models/nuclei/infer"
    response = httpx.post(url, content=sent.content + raw, headers=headers, timeout=60)
    length = int(response.headers.get("Inference-Header-Content-Length", len(response.content)))
    answer, rest = httpx.Response(200, content=response.content[:length]).json(), response.content[length:]
    outputs: dict[str, Any] = {}
    for output in answer["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        outputs[output["name"]] = output.get("data") or from_raw(output["datatype"], rest[:size], output["shape"])
        rest = rest[size:]
    return oip_rows(outputs)


def oip_unary(server: Served, image: bytes) -> list[Row]:
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(oip_request(image))
    return oip_response(answer)


def oip_stream(server: Served, image: bytes) -> list[Row]:
    with grpc.insecure_channel(server.grpc_address) as channel:
        (answer,) = oip_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([oip_request(image)]))
    return oip_response(answer.infer_response)


def oip_request(image: bytes) -> oip.ModelInferRequest:
    tensor = oip.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    return oip.ModelInferRequest(model_name="nuclei", inputs=[tensor], raw_input_contents=[join_elements([image])])


def oip_response(answer: oip.ModelInferResponse) -> list[Row]:
    contents = zip(answer.outputs, answer.raw_output_contents, strict=True)
    return oip_rows({tensor.name: from_raw(tensor.datatype, raw, tensor.shape) for tensor, raw in contents})


def from_raw(datatype: str, raw: bytes, shape: Any) -> list[Any]:
    if datatype == "BYTES":
        return [bytes(part).decode() for part in split_elements("masks", memoryview(raw), int(np.prod(shape)))]
    dtype = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32}[datatype]
    return np.frombuffer(raw, dtype).tolist()


def oip_rows(outputs: dict[str, Any]) -> list[Row]:
    assert set(outputs) == set(NAMES) and outputs["num_detections"] == [len(outputs["scores"])]
    boxes = np.reshape(outputs["boxes"], (-1, 4)).tolist()
    columns = zip(outputs["labels"], outputs["scores"], boxes, outputs["masks"], strict=True)
    return [(label, exact(score, 6), tuple(exact(v, 3) for v in box), mask) for label, score, box, mask in columns]


def exact(value: float, digits: int) -> float:
    """value as the JSON doors write it."""
    return float(np.float64(np.float32(value)).round(digits))


WAYS: list[Callable[[Served, bytes], list[Row]]] = [
    rest_multipart,
    rest_json,
    rcnn_v1_unary,
    rcnn_v1_stream,
    oip_json,
    oip_binary,
    oip_pixels,
    oip_unary,
    oip_stream,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_door_gives_the_same_detections(nuclei: Served, way: Callable[[Served, bytes], list[Row]]) -> None:
    """Labels, scores, boxes and masks, to the last digit that JSON carries; as a raw REST body gives them."""
    image = PICTURE.read_bytes()
    expected = rest_raw(nuclei, image)
    assert len(expected) > 3
    assert way(nuclei, image) == expected
