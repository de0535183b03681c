"""Answers in other people's formats, taken by those people's own libraries; and how they travel."""

import contextlib
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import requests
import supervision
from pycocotools.coco import COCO

from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server

DOCUMENT = Path(__file__).parents[2] / "docs/clients/formats.md"
WIDE, TALL = encode_picture(80, 60, 200), encode_picture(60, 90, 120)


@pytest.fixture(scope="module")
def client(fake_served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake_served.http_url, timeout=30) as client:
        yield client


def detections(client: httpx.Client, image: bytes, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.post("/v1/detect", content=image, params=options).json()["detections"]
    return found


def test_coco_rows_are_taken_by_pycocotools(client: httpx.Client) -> None:
    """Two images in one request: loadRes takes the answer as it is, with boxes and masks of the right images."""
    answer = client.post(
        "/v1/detect",
        params={"format": "coco", "masks": "rle", "image_id": 41},
        files=[("image", ("wide.png", WIDE)), ("image", ("tall.png", TALL))],
    ).json()
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 41, "width": 80, "height": 60}, {"id": 42, "width": 60, "height": 90}],
        "categories": [{"id": 1, "name": "thing"}, {"id": 2, "name": "other"}],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results = truth.loadRes(answer)
    for image_id, image in ((41, WIDE), (42, TALL)):
        (annotation,) = results.loadAnns(results.getAnnIds(imgIds=[image_id]))
        (ours,) = detections(client, image, masks="rle")
        x1, y1, x2, y2 = ours["box"]
        assert annotation["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
        assert (annotation["category_id"], annotation["score"]) == (ours["label_id"], ours["score"])
        mask = results.annToMask(annotation)
        size = truth.dataset["images"][image_id - 41]
        assert mask.shape == (size["height"], size["width"]) and 0 < mask.sum() <= (x2 - x1 + 2) * (y2 - y1 + 2)


def documented(place: int, served: Served, **names: Any) -> dict[str, Any]:
    """The names after a Python block of docs/clients/formats.md has run against served."""
    block = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[place]
    exec(block.replace("http://localhost:8000", served.http_url), names)
    return names


def test_supervision_takes_an_answer_in_the_two_lines_of_the_document(
    fake_served: Served, client: httpx.Client
) -> None:
    """Boxes, scores, classes and masks."""
    found = documented(0, fake_served, requests=requests, supervision=supervision, image=WIDE)["found"]
    (ours,) = detections(client, WIDE)
    np.testing.assert_allclose(found.xyxy, [ours["box"]], atol=2e-3)
    np.testing.assert_allclose(found.confidence, [ours["score"]])
    assert found.class_id.tolist() == [1] and found.data["class_name"].tolist() == ["thing"]
    assert found.mask.shape == (1, 60, 80) and found.mask.any()


def test_the_documents_coco_lines_run(fake_served: Served) -> None:
    """One image, its own id."""
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 7}],
        "categories": [{"id": 1}],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results = documented(1, fake_served, requests=requests, truth=truth, image=WIDE)["results"]
    assert [row["image_id"] for row in results.dataset["annotations"]] == [7]


def test_an_empty_answer_is_taken_too(client: httpx.Client) -> None:
    """Nothing found: no rows, and an empty Detections."""
    options = {"score_threshold": 1.0, "classes": "other"}
    assert client.post("/v1/detect", content=WIDE, params={"format": "coco", **options}).json() == []
    answer = client.post("/v1/detect", content=WIDE, params={"format": "inference", **options}).json()
    assert len(supervision.Detections.from_inference(answer)) == 0


def test_several_images_in_inference_format_are_a_list(client: httpx.Client) -> None:
    """One answer an image, in order, from multipart."""
    files = [("image", ("a", WIDE)), ("image", ("b", TALL))]
    answers = client.post("/v1/detect", params={"format": "inference"}, files=files).json()
    assert [answer["image"] for answer in answers] == [{"width": 80, "height": 60}, {"width": 60, "height": 90}]


@pytest.mark.parametrize(
    ("params", "headers", "words"),
    [
        ({"format": "coco", "masks": "polygon"}, {}, "rle or none"),
        ({"format": "inference", "masks": "raw"}, {}, "rle or none"),
        ({"format": "coco"}, {"Accept": "image/png"}, "Accept asks for image/png"),
        ({"format": "yolo"}, {}, "'coco'"),
        ({"image_id": -1}, {}, "image_id"),
        ({"image_id": [1, 2]}, {}, "given twice"),
    ],
    ids=str,
)
def test_wishes_that_exclude_each_other_are_refused(
    client: httpx.Client, params: dict[str, Any], headers: dict[str, str], words: str
) -> None:
    """Never a silent choice between two."""
    response = client.post("/v1/detect", content=WIDE, params=params, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_option")
    assert words in response.json()["detail"]


def test_json_is_gzipped_where_that_is_asked_for_and_worth_it(client: httpx.Client) -> None:
    """The same bytes unpacked; short answers and clients that say no get them plain."""
    params = {"masks": "raw", "score_threshold": 0.01}

    def ask(accepts: str, **options: Any) -> httpx.Response:
        headers = {"Accept-Encoding": accepts}
        with client.stream("POST", "/v1/detect", content=WIDE, params=options, headers=headers) as response:
            response.raw = b"".join(response.iter_raw())  # type: ignore[attr-defined]
        return response

    packed = ask("gzip", **params)
    assert packed.headers["content-encoding"] == "gzip" and "Accept-Encoding" in packed.headers["vary"]
    rows = json.loads(gzip.decompress(packed.raw))["detections"]  # type: ignore[attr-defined]
    for accepts in ("identity", "gzip;q=0", "br"):
        plain = ask(accepts, **params)
        assert "content-encoding" not in plain.headers
        assert json.loads(plain.raw)["detections"] == rows  # type: ignore[attr-defined]
    assert "content-encoding" not in ask("gzip").headers


def test_masks_over_the_cap_are_refused_by_every_format(toy_bundle: Bundle) -> None:
    """A cap of 100 bytes: a raw grid weighs 784; the message names options that help; without masks all is well."""
    settings = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), "RCNN_MAX_MASK_BYTES": "10"}
    with run_server(settings) as server, httpx.Client(base_url=server.http_url, timeout=30) as client:
        for masks in ("rle", "polygon", "png", "raw"):
            response = client.post("/v1/detect", content=WIDE, params={"masks": masks})
            assert (response.status_code, response.json()["code"]) == (400, "answer_too_large"), masks
            assert "max_detections" in response.json()["detail"]
        assert client.post("/v1/detect", content=WIDE).status_code == 200


def test_models_nobody_serves_share_one_label(fake_served: Served, client: httpx.Client) -> None:
    """Whatever names callers make up share one series; options that do not parse are counted under the model."""
    for name in ("made-up-1", "made-up-2"):
        assert client.post(f"/v1/models/{name}/detect", content=WIDE).status_code == 404
    assert client.post("/v1/detect?nonsense=1", content=WIDE).status_code == 400
    text = httpx.get(f"{fake_served.metrics_url}/metrics").text
    outcome = 'outcome="model_not_found",protocol="rest"'
    assert f'rcnn_requests_total{{model="(unknown)",{outcome},version=""}}' in text
    assert 'rcnn_requests_total{model="toy",outcome="invalid_option",protocol="rest",version="1"}' in text
    assert "made-up" not in text and 'model=""' not in text
