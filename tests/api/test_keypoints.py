"""A keypoints model behind both doors, on the fake engine: every detection comes with its named points."""

import base64
from collections.abc import Iterator

import grpc
import httpx
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import write_bundle
from tests.conftest import MANIFEST, Served, encode_picture, run_server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("people")
    for name in ("detector.onnx", "keypoint_head.onnx"):
        (root / name).write_bytes(b"not a model: the fake engine needs none")
    skeleton = {"names": ["near", "far"], "limbs": [[0, 1]]}
    write_bundle(root, MANIFEST | {"task": "keypoints", "keypoints": skeleton})
    with run_server({"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(root)}) as server:
        yield server


def test_points_are_answered_in_image_pixels(served: Served) -> None:
    """A third and two thirds along the box's diagonal, in the order of the names the model lists."""
    model = httpx.get(f"{served.http_url}/v1/models/toy").json()
    assert (model["task"], model["keypoints"]) == ("keypoints", {"names": ["near", "far"], "limbs": [[0, 1]]})
    (found,) = httpx.post(f"{served.http_url}/v1/detect", content=encode_picture(240, 120)).json()["detections"]
    x1, y1, x2, y2 = found["box"]
    for (x, y, score), share in zip(found["keypoints"], (1 / 3, 2 / 3), strict=True):
        assert (x, y) == pytest.approx((x1 + share * (x2 - x1), y1 + share * (y2 - y1)), abs=4)
        assert score == pytest.approx(5, abs=0.5)


def test_grpc_names_every_point(served: Served) -> None:
    """The same points as REST."""
    body = encode_picture(240, 120)
    (row,) = httpx.post(f"{served.http_url}/v1/detect", content=body).json()["detections"]
    with grpc.insecure_channel(served.grpc_address) as channel:
        (found,) = pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=body)).detections
    assert [point.name for point in found.keypoints] == ["near", "far"]
    for point, expected in zip(found.keypoints, row["keypoints"], strict=True):
        assert (point.x, point.y, point.score) == pytest.approx(expected, abs=1e-2)


def test_the_open_inference_protocol_has_them_as_an_output(served: Served) -> None:
    """The same points as REST, and their shape in the metadata."""
    body = encode_picture(240, 120)
    (row,) = httpx.post(f"{served.http_url}/v1/detect", content=body).json()["detections"]
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(body).decode()]}
    asked = {"inputs": [image], "outputs": [{"name": "keypoints"}]}
    (output,) = httpx.post(f"{served.http_url}/v2/models/toy/infer", json=asked).json()["outputs"]
    assert output["shape"] == [1, 1, 2, 3]
    assert output["data"] == pytest.approx([value for point in row["keypoints"] for value in point], abs=1e-3)
    told = httpx.get(f"{served.http_url}/v2/models/toy").json()["outputs"][-1]
    assert told == {"name": "keypoints", "datatype": "FP32", "shape": [-1, -1, 2, 3]}


def test_points_have_no_mirror_image(served: Served) -> None:
    """Which points change sides is not known: the views are refused, and why is said."""
    refused = httpx.post(f"{served.http_url}/v1/detect?tta=flip", content=encode_picture(64, 64))
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_option")
    assert "tta: not of a keypoints model" in refused.json()["detail"]
