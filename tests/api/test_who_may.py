"""Keys, tokens, scopes, rates and quotas at every door of a real server."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.api.grpc.proto import inference_pb2 as oip
from service.api.grpc.proto import inference_pb2_grpc as oip_grpc
from service.bundle import Bundle
from service.security.api_keys import entry_of, new_key
from tests.conftest import Served, encode_picture, run_server

GOOD = encode_picture(80, 60, 200)
ISSUER, AUDIENCE = "https://issuer.example", "rcnn"
RSA = rsa.generate_private_key(65537, 2048)
FAKE_INFER = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["x"]}]}


@dataclass(frozen=True)
class Guarded:
    """A server that asks for keys, and the keys by name."""

    served: Served
    keys: dict[str, str]
    file: Path
    log: Path


@pytest.fixture(scope="module")
def guarded(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("keys")
    lines = {"camera": "", "operator": "", "scraper": "", "slow": "images_per_s = 0.01\nburst = 2\n"}
    lines["small"] = "images_per_day = 3\n"
    scopes = {"operator": ["admin"], "scraper": ["metrics"]}
    keys, text = {}, ""
    for name, more in lines.items():
        keys[name], digest = new_key(name)
        text += entry_of(name, digest, scopes.get(name, ["detect"])) + more
    (folder / "keys.toml").write_text(text)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "one"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_API_KEYS": str(folder / "keys.toml"),
        "RCNN_TOKEN_KEYS": str(folder / "jwks.json"),
        "RCNN_TOKEN_ISSUER": ISSUER,
        "RCNN_TOKEN_AUDIENCE": AUDIENCE,
    }
    with run_server(environment) as served:
        yield Guarded(served, keys, folder / "keys.toml", folder)


def token(scope: str) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 60, "scope": scope}
    return jwt.encode(claims, RSA, "RS256", headers={"kid": "one"})


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def detect(guarded: Guarded, **headers: str) -> httpx.Response:
    return httpx.post(f"{guarded.served.http_url}/v1/detect", content=GOOD, headers=headers)


PATHS = [
    ("GET", "/v1/models", "detect"),
    ("GET", "/v1/status", "detect"),
    ("POST", "/v1/detect", "detect"),
    ("POST", "/v1/models/toy/detect", "detect"),
    ("GET", "/v1/models/toy/examples/a.png", "detect"),
    ("GET", "/v2", "detect"),
    ("GET", "/v2/models/toy", "detect"),
    ("POST", "/v2/models/toy/infer", "detect"),
    ("POST", "/v2/repository/index", "detect"),
    ("POST", "/v2/repository/models/toy/load", "admin"),
    ("POST", "/v2/repository/models/toy/unload", "admin"),
    ("GET", "/nobody/thought/of", "detect"),
]
PUBLIC = ["/", "/ui/app.js", "/docs", "/openapi.json", "/livez", "/readyz", "/startupz", "/v2/health/live"]


@pytest.mark.parametrize(("method", "path", "scope"), PATHS)
def test_without_a_key_nothing_but_the_public_is_there(guarded: Guarded, method: str, path: str, scope: str) -> None:
    """401 with what to send, in the words of the path's own protocol; a wrong key is no better than none."""
    for headers in ({}, bearer("camera.wrong"), {"X-API-Key": "x"}, bearer("a.b.c"), {"Authorization": "Basic eDp5"}):
        answer = httpx.request(method, guarded.served.http_url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        body = answer.json()
        code = body["error"].partition(":")[0] if path.startswith("/v2") else body["code"]
        assert code == "unauthenticated" and answer.headers["x-request-id"]


@pytest.mark.parametrize(("method", "path", "scope"), PATHS)
def test_a_key_opens_what_its_scopes_name(guarded: Guarded, method: str, path: str, scope: str) -> None:
    """camera may detect, operator may change models, and neither may do the other's."""
    url, mine, other = guarded.served.http_url + path, *(("camera", "operator")[:: 1 if scope == "detect" else -1])
    refused = httpx.request(method, url, headers=bearer(guarded.keys[other]))
    assert refused.status_code == 403 and f"needs the scope {scope}" in refused.text
    entered = httpx.request(method, url, headers={"X-API-Key": guarded.keys[mine]})
    assert entered.status_code not in (401, 429) and "needs the scope" not in entered.text


@pytest.mark.parametrize("path", PUBLIC)
def test_probes_and_the_page_need_no_key(guarded: Guarded, path: str) -> None:
    """Kubernetes sends none, and a browser has none yet."""
    assert httpx.get(guarded.served.http_url + path).status_code == 200


def test_a_token_is_as_good_as_a_key(guarded: Guarded) -> None:
    """Its scopes count; without them it is known and still refused."""
    assert detect(guarded, **bearer(token("detect openid"))).status_code == 200
    assert detect(guarded, **bearer(token("metrics"))).status_code == 403


def test_the_metrics_port_asks_too(guarded: Guarded) -> None:
    """metrics for scrapes, admin for changes, nothing for probes; what is not there is hidden alike."""
    url, keys = guarded.served.metrics_url, guarded.keys
    assert httpx.get(f"{url}/livez").status_code == httpx.get(f"{url}/readyz").status_code == 200
    for path in ("/metrics", "/", "/docs", "/nothing"):
        assert httpx.get(url + path).status_code == 401
        assert httpx.get(url + path, headers=bearer(keys["camera"])).status_code == 403
    scraped = httpx.get(f"{url}/metrics", headers=bearer(keys["scraper"]))
    assert scraped.status_code == 200 and 'outcome="unauthenticated"' in scraped.text
    load = f"{url}/v2/repository/models/toy/load"
    assert httpx.post(load, headers=bearer(keys["scraper"])).status_code == 403
    answer = httpx.post(load, headers=bearer(keys["operator"]))
    assert answer.status_code == 403 and "no model repository is set" in answer.text  # past the guard, to the door


def test_another_sites_page_cannot_change_models(guarded: Guarded) -> None:
    """A browser says where a request comes from; it must not lend its owner's place in the network."""
    load = f"{guarded.served.http_url}/v2/repository/models/toy/load"
    answer = httpx.post(load, headers=bearer(guarded.keys["operator"]) | {"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403 and "another site" in answer.text


def test_a_rate_is_429_with_the_wait(guarded: Guarded) -> None:
    """Two at once, then one in a hundred seconds: said before the body is read, by a stable code."""
    key = bearer(guarded.keys["slow"])
    answers = [detect(guarded, **key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate_limited" and 90 < int(answers[2].headers["retry-after"]) <= 100
    assert httpx.get(f"{guarded.served.http_url}/v1/models", headers=key).status_code == 200
    assert detect(guarded, **bearer(guarded.keys["camera"])).status_code == 200


def call(guarded: Guarded, make: Callable[[grpc.Channel], Any], key: str | None) -> grpc.StatusCode:
    """How a call ends; a stream's first message tells."""
    metadata = [("authorization", f"Bearer {key}")] if key else []
    with grpc.insecure_channel(guarded.served.grpc_address) as channel:
        try:
            make(channel)(metadata)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def _unary(channel: grpc.Channel) -> Any:
    return lambda metadata: pb_grpc.DetectionServiceStub(channel).Detect(
        pb.DetectRequest(image=GOOD), metadata=metadata
    )


def _stream(channel: grpc.Channel) -> Any:
    requests = iter([pb.DetectRequest(image=GOOD)])
    stub = pb_grpc.DetectionServiceStub(channel)
    return lambda metadata: next(stub.DetectStream(requests, metadata=metadata))


def _ready(channel: grpc.Channel) -> Any:
    stub = oip_grpc.GRPCInferenceServiceStub(channel)
    return lambda metadata: stub.ModelReady(oip.ModelReadyRequest(name="toy"), metadata=metadata)


def _load(channel: grpc.Channel) -> Any:
    stub = oip_grpc.GRPCInferenceServiceStub(channel)
    return lambda metadata: stub.RepositoryModelLoad(
        oip.RepositoryModelLoadRequest(model_name="toy"), metadata=metadata
    )


@pytest.mark.parametrize(
    ("make", "scope"), [(_unary, "detect"), (_stream, "detect"), (_ready, "detect"), (_load, "admin")]
)
def test_grpc_asks_the_same(guarded: Guarded, make: Callable[[grpc.Channel], Any], scope: str) -> None:
    """No key, a wrong one, one without the scope; past the guard a load meets that no repository is set."""
    keys = guarded.keys
    assert call(guarded, make, None) is grpc.StatusCode.UNAUTHENTICATED
    assert call(guarded, make, "camera.wrong") is grpc.StatusCode.UNAUTHENTICATED
    other = keys["operator" if scope == "detect" else "camera"]
    assert call(guarded, make, other) is grpc.StatusCode.PERMISSION_DENIED
    if scope == "detect":
        assert call(guarded, make, keys["camera"]) is call(guarded, make, token("detect")) is grpc.StatusCode.OK


def test_grpc_health_needs_no_key(guarded: Guarded) -> None:
    """As the probes of Kubernetes come."""
    with grpc.insecure_channel(guarded.served.grpc_address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_stream_pays_for_each_image(guarded: Guarded) -> None:
    """Three of five in one call, the rest refused in their places; and no door gives what another refused."""
    with grpc.insecure_channel(guarded.served.grpc_address) as channel:
        stub = pb_grpc.DetectionServiceStub(channel)
        requests = iter([pb.DetectRequest(image=GOOD)] * 5)
        metadata = [("x-api-key", guarded.keys["small"])]
        answers = list(stub.DetectStream(requests, metadata=metadata))
    assert [answer.WhichOneof("outcome") for answer in answers] == ["answer"] * 3 + ["error"] * 2
    assert answers[4].error.message.startswith("quota_exceeded")
    refused = detect(guarded, **bearer(guarded.keys["small"]))
    assert refused.status_code == 429 and refused.json()["code"] == "quota_exceeded"
    infer = f"{guarded.served.http_url}/v2/models/toy/infer"
    assert httpx.post(infer, json=FAKE_INFER, headers=bearer(guarded.keys["small"])).status_code == 429


def test_a_new_key_opens_and_a_removed_one_closes_without_a_restart(guarded: Guarded) -> None:
    """Within seconds of the file's change."""
    key, digest = new_key("late")
    before = guarded.file.read_text()
    assert detect(guarded, **bearer(key)).status_code == 401
    guarded.file.write_text(before + entry_of("late", digest, ["detect"]))
    assert _within(10, lambda: detect(guarded, **bearer(key)).status_code == 200)
    guarded.file.write_text(before)
    assert _within(10, lambda: detect(guarded, **bearer(key)).status_code == 401)
    assert detect(guarded, **bearer(guarded.keys["camera"])).status_code == 200


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
    return True


def test_the_document_says_what_needs_a_key(guarded: Guarded) -> None:
    """Everything but the probes; the reference gets its button to authorise."""
    document = httpx.get(f"{guarded.served.http_url}/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    operations = {path: op for path, ops in document["paths"].items() for op in ops.values()}
    assert {path for path, op in operations.items() if "security" not in op} == {"/livez", "/readyz", "/startupz"}
    assert all({"401", "403"} <= set(op["responses"]) for op in operations.values() if "security" in op)


@pytest.mark.slow
def test_a_fuzzer_finds_no_way_around_the_keys(guarded: Guarded, tmp_path: Path) -> None:
    """schemathesis with a good key: nothing undocumented; without it, or with a made-up one, never an answer."""
    (tmp_path / "schemathesis.toml").write_text(
        '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "504"]\n'
    )
    fuzzer = str(Path(sys.executable).with_name("schemathesis"))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,ignored_auth"
    options = ["--checks", checks, "--max-examples", "10", "--seed", "1", "--generation-database", "none"]
    command = [fuzzer, "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
    command += [f"{guarded.served.http_url}/openapi.json", "-H", f"Authorization: Bearer {guarded.keys['camera']}"]
    phases = ["--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--no-color"]
    done = subprocess.run([*command, *options, *phases], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "Tested: 8" in done.stdout
