"""The OpenAPI document is true: its examples run, its errors are all there, and a fuzzer finds nothing else."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import errors
from service.api.rest.openapi import DETECT_ERRORS
from tests.conftest import Served, encode_picture

# What no REST caller can meet: nobody reads it, it ends the start, or it belongs to the Open Inference Protocol.
ELSEWHERE = {"caller_left", "bundle_invalid", "not_permitted", "not_offered"}
OPERATIONS = [("/v1/detect", "post"), ("/v1/models/{name}/detect", "post")]


@pytest.fixture(scope="module")
def client(fake_served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake_served.http_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def leaves(kind: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
    return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_examples_run_as_they_stand(client: httpx.Client, document: dict[str, Any], path: str, method: str) -> None:
    """Every parameter's example together, with the JSON body's example, and with an image as each other body."""
    operation = document["paths"][path][method]
    examples = {
        kind: {p["name"]: p["example"] for p in operation["parameters"] if p["in"] == kind and "example" in p}
        for kind in ("path", "query", "header")
    }
    url = path.format(**examples["path"])
    headers = {name: str(value) for name, value in examples["header"].items()}
    body = operation["requestBody"]["content"]["application/json"]["example"]
    answer = client.post(url, json=body, params=examples["query"], headers=headers)
    assert answer.status_code == 200, answer.text
    image = base64.b64decode(body["images"][0]["b64"])
    answer = client.post(url, content=image, params=examples["query"], headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == headers["X-Request-Id"]
    assert len(examples["query"]) >= 8


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_error_code_is_documented_with_an_example(document: dict[str, Any], path: str, method: str) -> None:
    """All of the tree but what no REST caller can meet; a new leaf has to be put on one side or the other."""
    answers = document["paths"][path][method]["responses"]
    documented = {
        code: (status, example["value"])
        for status, answer in answers.items()
        for code, example in answer["content"].get("application/problem+json", {}).get("examples", {}).items()
    }
    assert set(documented) == {leaf.code for leaf in leaves(errors.ServiceError)} - ELSEWHERE
    assert set(documented) == {leaf.code for leaf in DETECT_ERRORS}
    for code, (status, example) in documented.items():
        assert example["code"] == code and str(example["status"]) == status
        assert f"`{code}`" in answers[status]["description"]


def test_answers_are_typed(document: dict[str, Any]) -> None:
    """Every format, every form of a mask and the problem document are schemas with named members."""
    schemas = document["components"]["schemas"]
    for name in ("AnswerOut", "AnswersOut", "CocoRow", "InferenceOut", "RleOut", "PolygonOut", "PngOut", "RawOut"):
        assert schemas[name]["properties"], name
    assert "code" in schemas["ProblemOut"]["required"] and "HTTPValidationError" not in schemas
    answer = document["paths"]["/v1/detect"]["post"]["responses"]["200"]["content"]
    assert set(answer) == {"application/json", "image/png", "image/jpeg"}


@pytest.mark.slow
def test_a_fuzzer_finds_no_5xx_and_nothing_undocumented(fake_served: Served, tmp_path: Path) -> None:
    """schemathesis as installed: its examples, its edge cases and twenty random cases an operation.

    504 is no accident: it invents deadlines nobody could meet, and that is their documented answer.
    """
    config = tmp_path / "schemathesis.toml"
    config.write_text('[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "504"]\n')
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
        "response_headers_conformance,unsupported_method"
    )
    fuzzer = str(Path(sys.executable).with_name("schemathesis"))
    command = [fuzzer, "--config-file", str(config), "run", f"{fake_served.http_url}/openapi.json"]
    options = ["--checks", checks, "--max-examples", "20", "--seed", "1", "--generation-database", "none"]
    phases = ["--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--no-color"]
    done = subprocess.run([*command, *options, *phases], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "Tested: 8" in done.stdout


def test_the_reference_page_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    """Its script and style come from here, whole."""
    page = client.get("/docs").text
    assert "://" not in page
    for asset, least_bytes in (("swagger-ui-bundle.js", 1_000_000), ("swagger-ui.css", 100_000)):
        assert f"docs/assets/{asset}" in page
        assert len(client.get(f"/docs/assets/{asset}").content) > least_bytes
    assert client.post("/v1/detect", content=encode_picture(9, 9)).status_code == 200
