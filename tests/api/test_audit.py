"""Who did what, to which model, with what outcome; and what stays out of every log."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle
from service.security.api_keys import entry_of, new_key
from tests.conftest import Served, encode_picture, run_server
from tests.discretion import leaks

GOOD = encode_picture(80, 60, 200)


def do_everything(served: Served, camera: dict[str, str], operator: dict[str, str]) -> None:
    """A detection at two doors, a broken picture, a wrong key, a scope missing, a load good and bad, an unload."""
    rest = httpx.Client(base_url=served.http_url, timeout=30)
    with rest:
        rest.post("/v1/detect", content=GOOD, headers=camera | {"X-Request-Id": "one"}).raise_for_status()
        body = {"images": [{"b64": base64.b64encode(GOOD).decode()}], "nonsense": 1}
        assert rest.post("/v1/detect", json=body, headers=camera).status_code == 400
        assert rest.post("/v1/detect", content=GOOD[:60], headers=camera).status_code == 422
        assert rest.post("/v1/detect", content=GOOD, headers={"X-API-Key": "camera.guessed"}).status_code == 401
        assert rest.post("/v2/repository/models/toy/load", headers=camera).status_code == 403
        rest.post("/v2/repository/models/toy/load", headers=operator).raise_for_status()
        broken = rest.post("/v2/repository/models/broken/load", headers=operator)
        assert broken.status_code == 500 and "broken/1: detector.onnx is listed but missing" in broken.text
        rest.post("/v2/repository/models/toy/unload", headers=operator).raise_for_status()
    with grpc.insecure_channel(served.grpc_address) as channel, pytest.raises(grpc.RpcError):
        metadata = [(name.lower(), value) for name, value in camera.items()]
        pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=GOOD), metadata=metadata)


def test_every_deed_has_its_line_and_no_line_a_secret(toy_bundle: Bundle, tmp_path: Path) -> None:
    """In order; with the caller, the model's digest and the outcome. Neither log holds picture, key or place."""
    repository, audit = tmp_path / "repository", tmp_path / "audit.jsonl"
    for name in ("toy", "broken"):
        shutil.copytree(toy_bundle.root, repository / name / "1")
    (repository / "broken" / "1" / "detector.onnx").unlink()
    (camera, camera_hash), (operator, operator_hash) = new_key("camera"), new_key("operator")
    keys = tmp_path / "keys.toml"
    keys.write_text(entry_of("camera", camera_hash, ["detect"]) + entry_of("operator", operator_hash, ["admin"]))
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_MODEL_REPOSITORY": str(repository),
        "RCNN_API_KEYS": str(keys),
        "RCNN_AUDIT_LOG": str(audit),
        "RCNN_RELEASE": "0.1.0-4f2a",
        "RCNN_LOG_LEVEL": "debug",
    }
    with run_server(environment) as served:
        do_everything(served, {"Authorization": f"Bearer {camera}"}, {"Authorization": f"Bearer {operator}"})
    lines: list[dict[str, Any]] = [json.loads(line) for line in audit.read_text().splitlines()]
    told = [(line["caller"], line["action"], line["outcome"]) for line in lines]
    assert told == [
        ("key/camera", "detect", "ok"),
        ("key/camera", "detect", "invalid_option"),
        ("key/camera", "detect", "undecodable_image"),
        ("unknown", "enter", "unauthenticated"),
        ("key/camera", "enter", "forbidden"),
        ("key/operator", "load", "ok"),
        ("key/operator", "load", "bundle_invalid"),
        ("key/operator", "unload", "ok"),
        ("key/camera", "detect", "model_not_found"),
    ]
    assert lines[0]["digest"] == lines[5]["digest"] == lines[7]["digests"][0] == toy_bundle.digest
    assert {line["release"] for line in lines} == {"0.1.0-4f2a"}
    assert lines[0]["request_id"] == "one" and lines[0]["images"] == 1 and "time" in lines[0]
    both = audit.read_text() + "".join(served.log)
    assert camera not in both and operator not in both and "guessed" not in both
    assert leaks(both, [str(tmp_path), str(toy_bundle.root)]) == []


@pytest.mark.parametrize(
    "line",
    [
        f"body {GOOD!r}",
        f'{{"body": "{base64.b64encode(GOOD).decode()}"}}',
        f"refused {new_key('a')[0]}",
        "Authorization: Bearer x",
        '{"event": "loaded", "root": "/srv/models/toy"}',
    ],
    ids=["bytes", "base64", "key", "header", "path"],
)
def test_the_search_for_leaks_finds_them(line: str) -> None:
    """A test that cannot fail would prove nothing."""
    assert leaks(line, ["/srv/models"])
