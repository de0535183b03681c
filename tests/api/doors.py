"""
Every door as one function: an image and options in, detections or a refusal out. Tables against it hold for all.

A new door adds its class to DOORS. What a door has no words for raises Inexpressible: only that row is left out there.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import httpx
import numpy as np
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from PIL import Image

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.api.grpc.proto import inference_pb2 as oip
from service.api.grpc.proto import inference_pb2_grpc as oip_grpc
from service.api.oip.tensors import join_elements
from tests.conftest import MANIFEST, Served

Json = dict[str, Any]


class Inexpressible(Exception):
    """This door's own types rule the request out before it is sent."""


@dataclass(frozen=True)
class Refusal:
    """code is the stable one; status is the door's own; fields are those said to be wrong. None: no words for it."""

    code: str
    status: str | None
    detail: str
    fields: tuple[str, ...] | None


Found = list[Json]  # of each detection: label, label_id, score, box, and mask as REST writes it


class Door(Protocol):
    def detect(
        self, image: bytes, options: Mapping[str, Any], model: str | None = None, version: str | None = None
    ) -> Found | Refusal: ...


def refusal_of_problem(response: httpx.Response) -> Refusal:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["type"] == f"urn:rcnn:problem:{problem['code']}" and problem["title"]
    fields = tuple(row["field"] for row in problem.get("errors", ()))
    return Refusal(problem["code"], str(response.status_code), problem["detail"], fields)


class _Rest:
    """What the three kinds of body share."""

    def __init__(self, served: Served) -> None:
        self._client = httpx.Client(base_url=served.http_url, timeout=30)

    def _post(self, model: str | None, version: str | None, options: Mapping[str, Any], **body: Any) -> Any:
        path = f"/v1/models/{model}/detect" if model else "/v1/detect"
        response = self._client.post(path, params=_query(options) | _version(version), **body)
        return response.json() if response.is_success else refusal_of_problem(response)

    def close(self) -> None:
        self._client.close()


class RestRaw(_Rest):
    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        answer = self._post(model, version, options, content=image, headers={"Content-Type": "image/png"})
        return answer if isinstance(answer, Refusal) else answer["detections"]


class RestMultipart(_Rest):
    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        answer = self._post(model, version, options, files=[("image", ("image.png", image, "image/png"))])
        return answer if isinstance(answer, Refusal) else answer["results"][0]["detections"]


class RestJson(_Rest):
    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        if any(isinstance(value, float) and value != value for value in options.values()):
            raise Inexpressible("JSON has no NaN")
        images = [{"b64": base64.b64encode(image).decode()}]
        answer = self._post(model, version, {}, json={"images": images, **options})
        return answer if isinstance(answer, Refusal) else answer["results"][0]["detections"]


class _Grpc:
    def __init__(self, served: Served) -> None:
        self._channel = grpc.insecure_channel(served.grpc_address, options=[("grpc.max_send_message_length", -1)])
        self._stub = pb_grpc.DetectionServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()


class GrpcUnary(_Grpc):
    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        try:
            answer = self._stub.Detect(request_of(image, options, model, version))
        except grpc.RpcError as error:
            status = rpc_status.from_call(error)
            if status is None:  # the transport's own refusal
                return Refusal("", error.code().name, error.details(), ())
            assert status.code == error.code().value[0] and status.message == error.details()
            return refusal_of_status(status)
        return [row_of(detection) for detection in answer.detections]


class GrpcStream(_Grpc):
    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        try:
            (response,) = self._stub.DetectStream(iter([request_of(image, options, model, version)]))
        except grpc.RpcError as error:
            return Refusal("", error.code().name, error.details(), ())
        if response.WhichOneof("outcome") == "error":
            return refusal_of_status(response.error)
        return [row_of(detection) for detection in response.answer.detections]


class _Oip:
    """What the three ways into the Open Inference Protocol share. It has no words for the fields that are wrong."""

    def _rows(self, outputs: Mapping[str, Any], image: bytes) -> Found:
        columns = [outputs["labels"], outputs["scores"], np.reshape(outputs["boxes"], (-1, 4)).tolist()]
        masks = outputs.get("masks", [None] * len(outputs["scores"]))
        found = []
        for label_id, score, box, counts in zip(*columns, masks, strict=True):
            label, exact = LABELS[label_id - 1], [_as_json(v, 3) for v in box]
            row: Json = {"label": label, "label_id": label_id, "score": _as_json(score, 6), "box": exact}
            if counts is not None:
                row["mask"] = {"size": list(Image.open(io.BytesIO(image)).size[::-1]), "counts": counts}
            found.append(row)
        return found


class OipJson(_Oip):
    def __init__(self, served: Served) -> None:
        self._client = httpx.Client(base_url=served.http_url, timeout=30)

    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        parameters, outputs = oip_wishes(options)
        if any(isinstance(value, float) and value != value for value in options.values()):
            raise Inexpressible("JSON has no NaN")
        tensor, raw = self._tensor(image)
        wanted = [{"name": name, "parameters": {"binary_data": bool(raw)}} for name in outputs]
        header = json.dumps({"inputs": [tensor], "outputs": wanted, "parameters": parameters}).encode()
        headers = {"Inference-Header-Content-Length": str(len(header))} if raw else {}
        path = f"/v2/models/{model or 'toy'}{f'/versions/{version}' if version else ''}/infer"
        response = self._client.post(path, content=header + raw, headers=headers)
        if not response.is_success:
            code, _, detail = response.json()["error"].partition(": ")
            return Refusal(code, str(response.status_code), detail, None)
        return self._rows(_outputs_of(response), image)

    def _tensor(self, image: bytes) -> tuple[Json, bytes]:
        return {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}, b""

    def close(self) -> None:
        self._client.close()


class OipBinary(OipJson):
    def _tensor(self, image: bytes) -> tuple[Json, bytes]:
        raw = join_elements([image])
        return {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}, raw


class OipUnary(_Oip):
    def __init__(self, served: Served) -> None:
        self._channel = grpc.insecure_channel(served.grpc_address, options=[("grpc.max_send_message_length", -1)])
        self._stub = oip_grpc.GRPCInferenceServiceStub(self._channel)

    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        try:
            answer = self._stub.ModelInfer(oip_request(image, options, model, version))
        except grpc.RpcError as error:
            status = rpc_status.from_call(error)
            return refusal_of_status(status) if status else Refusal("", error.code().name, error.details(), None)
        return self._rows(_contents_of(answer), image)

    def close(self) -> None:
        self._channel.close()


class OipStream(OipUnary):
    def detect(self, image: bytes, options: Mapping[str, Any], model: Any = None, version: Any = None) -> Any:
        try:
            (response,) = self._stub.ModelStreamInfer(iter([oip_request(image, options, model, version)]))
        except grpc.RpcError as error:
            return Refusal("", error.code().name, error.details(), None)
        if response.error_message:
            code, _, detail = response.error_message.partition(": ")
            return Refusal(code, None, detail, None)
        return self._rows(_contents_of(response.infer_response), image)


DOORS = {
    "rest-raw": RestRaw,
    "rest-multipart": RestMultipart,
    "rest-json": RestJson,
    "grpc-unary": GrpcUnary,
    "grpc-stream": GrpcStream,
    "oip-json": OipJson,
    "oip-binary": OipBinary,
    "oip-unary": OipUnary,
    "oip-stream": OipStream,
}
LABELS = MANIFEST["labels"]


def request_of(image: bytes, options: Mapping[str, Any], model: str | None, version: str | None) -> pb.DetectRequest:
    """Names of enum values are those of REST in capitals; an unknown one becomes a number no one gave a meaning."""
    sent = dict(options)
    try:
        if "nms" in sent:
            sent["nms"] = dict(pb.Nms.items()).get(f"NMS_{sent['nms'].upper()}", 99)
        if "masks" in sent:
            sent["masks"] = dict(pb.MaskFormat.items()).get(f"MASK_FORMAT_{sent['masks'].upper()}", 99)
        message = pb.DetectOptions(**sent)
    except (TypeError, ValueError) as error:
        raise Inexpressible(str(error)) from error
    return pb.DetectRequest(image=image, model=model or "", version=version or "", options=message)


def refusal_of_status(status: status_pb2.Status | pb.Status) -> Refusal:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "rcnn" and info.reason == info.metadata["code"].upper() and info.metadata["request_id"]
    name = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
    fields = tuple(row.field for row in bad.field_violations)
    return Refusal(info.metadata["code"], name, status.message, fields)


def row_of(found: pb.Detection) -> Json:
    box = [round(v, 3) for v in (found.box.x1, found.box.y1, found.box.x2, found.box.y2)]
    row: Json = {"label": found.label, "label_id": found.label_id, "score": round(found.score, 6), "box": box}
    match found.WhichOneof("mask"):
        case "rle":
            row["mask"] = {"size": [found.rle.height, found.rle.width], "counts": found.rle.counts}
        case "polygon":
            row["mask"] = {"polygons": [list(ring.xy) for ring in found.polygon.rings]}
        case "png":
            origin = [found.png.origin_x, found.png.origin_y]
            row["mask"] = {"origin": origin, "png": base64.b64encode(found.png.data).decode()}
        case "raw":
            row["mask"] = {
                "size": [found.raw.height, found.raw.width],
                "raw": base64.b64encode(found.raw.data).decode(),
            }
    return row


def _query(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in options.items()}


def _text(value: Any) -> str | Sequence[str]:
    if isinstance(value, dict):
        return [f"{label}:{score}" for label, score in value.items()]
    return value if isinstance(value, list) else str(value)


def _version(version: str | None) -> dict[str, str]:
    return {"version": version} if version else {}


def oip_wishes(options: Mapping[str, Any]) -> tuple[Json, list[str]]:
    """Parameters and requested outputs; lists and mappings are text there."""
    if options.get("masks") in ("polygon", "png", "raw"):
        raise Inexpressible("its masks are run lengths")
    sent = {}
    for name, value in options.items():
        text = _text(value) if isinstance(value, dict | list) else value
        sent[name] = ",".join(text) if isinstance(text, list) else text
    return sent, ["boxes", "scores", "labels", *(["masks"] if "masks" in options else [])]


def oip_request(image: bytes, options: Mapping[str, Any], model: Any, version: Any) -> oip.ModelInferRequest:
    parameters, outputs = oip_wishes(options)
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    request = oip.ModelInferRequest
    return request(
        model_name=model or "toy",
        model_version=version or "",
        inputs=[request.InferInputTensor(name="image", datatype="BYTES", shape=[1])],
        outputs=[request.InferRequestedOutputTensor(name=name) for name in outputs],
        parameters={name: oip.InferParameter(**{kinds[type(v)]: v}) for name, v in parameters.items()},
        raw_input_contents=[join_elements([image])],
    )


def _outputs_of(response: httpx.Response) -> Json:
    length = int(response.headers.get("Inference-Header-Content-Length", len(response.content)))
    rest, outputs = response.content[length:], {}
    for output in json.loads(response.content[:length])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        raw, rest = rest[:size], rest[size:]
        outputs[output["name"]] = output["data"] if "data" in output else _numbers(output["datatype"], raw)
    return outputs


def _contents_of(answer: oip.ModelInferResponse) -> Json:
    pairs = zip(answer.outputs, answer.raw_output_contents, strict=True)
    return {output.name: _numbers(output.datatype, raw) for output, raw in pairs}


def _numbers(datatype: str, raw: bytes) -> list[Any]:
    if datatype != "BYTES":
        values: list[Any] = np.frombuffer(raw, {"FP32": np.float32, "INT64": np.int64}[datatype]).tolist()
        return values
    elements = []
    while raw:
        length = int.from_bytes(raw[:4], "little")
        elements.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return elements


def _as_json(value: float, digits: int) -> float:
    """A float32 as the REST doors write it."""
    return float(np.float64(np.float32(value)).round(digits))
