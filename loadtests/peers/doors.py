"""How each server wants a picture, and where in its answer the detections are. Pictures are dressed before a run."""

import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from loadtests.driver import Target, own_answer
from loadtests.pictures import Picture
from loadtests.wire import Response

JSON = "application/json"
V2_PATH = "/v2/models/detect/infer"
TRITON_HEADER_BYTES = 256
"""The JSON part of a request to Triton is padded to this, so that one header tells its length for all pictures."""


@dataclass(frozen=True, slots=True)
class Door:
    """One way in."""

    path: str | None = None
    """None: rcnn's own."""
    content_type: str | None = None
    """None: the picture's own."""
    encode: Callable[[bytes], bytes] = bytes
    """A picture's bytes -> a request's body."""
    unwrap: Callable[[Response], Any] = own_answer
    headers: tuple[tuple[str, str], ...] = ()

    def target(self, url: str, timeout_s: float) -> Target:
        return Target(url, timeout_s=timeout_s, headers=self.headers, door=self.path, unwrap=self.unwrap)

    def dressed(self, picture: Picture) -> Picture:
        """The picture as it goes through this door."""
        content_type = self.content_type or picture.content_type
        return replace(picture, body=self.encode(picture.body), content_type=content_type)


def _json_image(body: bytes) -> bytes:
    return orjson.dumps({"image": base64.b64encode(body).decode()})


def _json_images(body: bytes) -> bytes:
    return orjson.dumps({"images": [base64.b64encode(body).decode()]})


def _first(response: Response) -> Any:
    return orjson.loads(response.body)[0]


def _v2_json(body: bytes) -> bytes:
    """The Open Inference Protocol in JSON alone: one element of base64."""
    data = [base64.b64encode(body).decode()]
    return orjson.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": data}]})


def _v2_answer(response: Response) -> Any:
    return orjson.loads(orjson.loads(response.body)["outputs"][0]["data"][0])


def _v2_binary(body: bytes) -> bytes:
    """The same with the binary extension: JSON, then the element behind its length."""
    element = struct.pack("<I", len(body)) + body
    about = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(element)}}
    wanted = {"name": "answer", "parameters": {"binary_data": True}}
    return orjson.dumps({"inputs": [about], "outputs": [wanted]}).ljust(TRITON_HEADER_BYTES) + element


def _v2_binary_answer(response: Response) -> Any:
    start = int(response.headers["inference-header-content-length"]) + struct.calcsize("<I")
    return orjson.loads(response.body[start:])


OWN = Door()
RAW = Door("/")
JSON_IMAGE = Door("/predict", JSON, _json_image)
JSON_IMAGES = Door("/detect", JSON, _json_images, _first)
V2 = Door(V2_PATH, JSON, _v2_json, _v2_answer)
V2_BINARY = Door(
    V2_PATH,
    "application/octet-stream",
    _v2_binary,
    _v2_binary_answer,
    (("Inference-Header-Content-Length", str(TRITON_HEADER_BYTES)),),
)
