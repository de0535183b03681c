"""A Fast and a Faster R-CNN as first published, behind every door: the same detections as the eager model's."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import FasterRCNN

from model.classic.fast_rcnn import GivenRegions
from model.export import export_graphs
from model.parity import SCORE_FLOOR, Eager, match
from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle, write_bundle
from service.postprocess.boxes import Picked
from service.proposals import windows
from tests.conftest import MANIFEST, Served, run_server
from tests.spread import CLASSES, spread

IMAGE_HW = (64, 128)  # goes onto its canvas as it is
BOXES = [[0.0, 0, 40, 40], [30, 10, 90, 60], [60, 5, 127, 62], [5, 20, 60, 64]]
OPTIONS = {"score_threshold": SCORE_FLOOR, "iou_threshold": 0.5, "max_detections": 100}
PIXELS = np.random.default_rng(3).integers(0, 256, (*IMAGE_HW, 3), np.uint8)


def _exported(name: str, folder: Path) -> tuple[FasterRCNN, Bundle]:
    model = spread(f"classic_{name}_zf")
    export_graphs(model, folder, 1000, MANIFEST["preprocess"]["mean"], MANIFEST["preprocess"]["std"])
    labels = [f"class {number}" for number in range(1, CLASSES)]
    taking = {"proposals": model.rpn.spec.model_dump(mode="json")} if isinstance(model.rpn, GivenRegions) else {}
    return model, write_bundle(folder, MANIFEST | {"name": name, "task": "detection", "labels": labels} | taking)


Models = dict[str, tuple[FasterRCNN, Bundle]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return {name: _exported(name, tmp_path_factory.mktemp(name)) for name in ("fastrcnn", "fasterrcnn")}


@pytest.fixture(scope="module")
def served(models: Models) -> Iterator[Served]:
    bundles = ",".join(str(bundle.root) for _, bundle in models.values())
    with run_server({"RCNN_ENGINE": "onnx", "RCNN_BUNDLES": bundles}) as server:
        yield server


def image() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def offline(models: Models, name: str, boxes: Any = None) -> Picked:
    """What eager torch finds with those regions."""
    model, bundle = models[name]
    regions = None if boxes is None else [np.array(boxes, np.float32)]
    with torch.no_grad():
        (found,) = Eager.run(model, bundle, PIXELS[None], np.array([IMAGE_HW]), regions).found
    return found


def picked(labels: Any, scores: Any, boxes: Any) -> Picked:
    return Picked(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64))


def are_the_same(found: Picked, wanted: Picked) -> bool:
    """Each has its equal, within what rounding does to scores and boxes: on another CPU it is done elsewhere."""
    return not match(wanted, found).lone and not match(found, wanted).lone


def by_rest(served: Served, name: str, **more: Any) -> httpx.Response:
    body = {"images": [{"b64": base64.b64encode(image()).decode(), **more}], **OPTIONS}
    return httpx.post(f"{served.http_url}/v1/models/{name}/detect", json=body, timeout=30)


def rest_rows(response: httpx.Response) -> Picked:
    (answer,) = response.json()["results"]
    rows = answer["detections"]
    return picked(*([row[member] for row in rows] for member in ("label_id", "score", "box")))


def by_grpc(served: Served, name: str, boxes: list[list[float]]) -> Picked:
    proposals = [pb.Box(x1=x1, y1=y1, x2=x2, y2=y2) for x1, y1, x2, y2 in boxes]
    options = pb.DetectOptions(**OPTIONS)
    request = pb.DetectRequest(image=image(), model=name, options=options, proposals=proposals)
    with grpc.insecure_channel(served.grpc_address) as channel:
        found = pb_grpc.DetectionServiceStub(channel).Detect(request).detections
    sides = [(row.box.x1, row.box.y1, row.box.x2, row.box.y2) for row in found]
    return picked([row.label_id for row in found], [row.score for row in found], sides)


def by_oip(served: Served, name: str, *more: dict[str, Any]) -> httpx.Response:
    pixels = {"name": "pixels", "datatype": "UINT8", "shape": [1, *PIXELS.shape], "data": PIXELS.ravel().tolist()}
    body = {"inputs": [pixels, *more], "parameters": OPTIONS}
    return httpx.post(f"{served.http_url}/v2/models/{name}/infer", json=body, timeout=30)


def tensor(boxes: list[list[float]]) -> dict[str, Any]:
    data = [side for box in boxes for side in box]
    return {"name": "proposals", "datatype": "FP32", "shape": [1, len(boxes), 4], "data": data}


def oip_rows(response: httpx.Response) -> Picked:
    outputs = {row["name"]: row["data"] for row in response.json()["outputs"]}
    return picked(outputs["labels"], outputs["scores"], outputs["boxes"])


def test_every_door_looks_at_the_regions_sent_as_the_eager_model_does(served: Served, models: Models) -> None:
    wanted = offline(models, "fastrcnn", BOXES)
    assert 3 <= len(wanted.scores) <= len(BOXES) * (CLASSES - 1)
    assert are_the_same(rest_rows(by_rest(served, "fastrcnn", proposals=BOXES)), wanted)
    assert are_the_same(by_grpc(served, "fastrcnn", BOXES), wanted)
    assert are_the_same(oip_rows(by_oip(served, "fastrcnn", tensor([*BOXES, [0.0, 0, 0, 0]]))), wanted)


def test_without_regions_the_server_lays_windows_over_the_image(served: Served, models: Models) -> None:
    spec = models["fastrcnn"][1].manifest.proposals
    assert spec is not None
    wanted = offline(models, "fastrcnn", windows(spec, IMAGE_HW))
    assert len(wanted.scores) > 20
    assert are_the_same(rest_rows(by_rest(served, "fastrcnn")), wanted)
    assert are_the_same(by_grpc(served, "fastrcnn", []), wanted)
    assert are_the_same(oip_rows(by_oip(served, "fastrcnn")), wanted)


def test_a_faster_rcnn_proposes_for_itself_behind_every_door_and_refuses_regions(
    served: Served, models: Models
) -> None:
    wanted = offline(models, "fasterrcnn")
    assert len(wanted.scores) > 20
    assert are_the_same(rest_rows(by_rest(served, "fasterrcnn")), wanted)
    assert are_the_same(by_grpc(served, "fasterrcnn", []), wanted)
    assert are_the_same(oip_rows(by_oip(served, "fasterrcnn")), wanted)
    refused = by_rest(served, "fasterrcnn", proposals=BOXES).json()
    assert refused["code"] == "invalid_option" and "only a Fast R-CNN takes them" in refused["detail"]


def test_regions_that_are_none_are_refused_by_every_door(served: Served) -> None:
    rest = by_rest(served, "fastrcnn", proposals=[[0, 0, 9, 9], [9, 9, 5, 20]])
    assert rest.status_code == 400 and "box 1" in rest.json()["detail"]
    assert by_rest(served, "fastrcnn", proposals=[[0, 0, 9]]).status_code == 400
    with pytest.raises(grpc.RpcError) as error:
        by_grpc(served, "fastrcnn", [[500, 500, 600, 600]])
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    for wrong in ({"datatype": "INT64"}, {"shape": [1, 4]}, {"shape": [2, 2, 4]}, {"shape": [1, 9, 4]}):
        assert by_oip(served, "fastrcnn", tensor(BOXES) | wrong).status_code == 400


def test_the_metadata_name_the_input_of_the_model_that_takes_regions_alone(served: Served) -> None:
    for name, takes in (("fastrcnn", True), ("fasterrcnn", False)):
        inputs = httpx.get(f"{served.http_url}/v2/models/{name}").json()["inputs"]
        assert ({"name": "proposals", "datatype": "FP32", "shape": [-1, -1, 4]} in inputs) == takes
