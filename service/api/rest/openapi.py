"""The OpenAPI document beyond what FastAPI reads from the routes: bodies, options, every error, examples that run."""

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import errors
from service.api.rest.accepts import JPEG, JSON, PNG
from service.api.rest.errors import STATUS, problem_content
from service.api.rest.schemas import (
    AnswerOut,
    AnswersOut,
    CocoRow,
    InferenceOut,
    JsonBody,
    ProblemOut,
    QueryOptions,
)

Json = dict[str, Any]

DETECT_ERRORS = (
    errors.InvalidOption,
    errors.InvalidRequest,
    errors.AnswerTooLarge,
    errors.ModelNotFound,
    errors.BodyTooSlow,
    errors.PayloadTooLarge,
    errors.ImageTooLarge,
    errors.UnsupportedMediaType,
    errors.UndecodableImage,
    errors.Overloaded,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.RateLimited,
    errors.QuotaExceeded,
    errors.NotReady,
    errors.DeadlineExceeded,
    errors.EngineFailed,
)
MODEL_ERRORS = (errors.ModelNotFound, errors.EngineFailed)
_PUBLIC = ("/livez", "/readyz", "/startupz")
_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or an OpenID token."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_REF = "#/components/schemas/{model}"
_BINARY: Json = {"schema": {"type": "string", "format": "binary"}}


def problems(leaves: tuple[type[errors.ServiceError], ...]) -> dict[int | str, Json]:
    """The error answers of an operation, by status: every stable code with what it means and an example."""
    by_status: dict[int | str, Json] = {}
    for leaf in leaves:
        status = int(STATUS[leaf])
        answer = by_status.setdefault(status, {"description": "", "content": {"application/problem+json": {}}})
        meaning = (leaf.__doc__ or "").strip().partition("\n")[0]
        answer["description"] += f"{'<br>' if answer['description'] else ''}`{leaf.code}`: {meaning}"
        body = answer["content"]["application/problem+json"]
        body["schema"] = {"$ref": _REF.format(model="ProblemOut")}
        body.setdefault("examples", {})[leaf.code] = {
            "value": problem_content(status, leaf.code, leaf.title, meaning, "5f0c1f0e9d1b4c0e8f7a6b5c4d3e2f10")
        }
        if issubclass(leaf, errors.Unavailable):
            answer["headers"] = {
                "Retry-After": {"description": "Seconds to wait, where waiting helps.", "schema": {"type": "integer"}}
            }
    return by_status


def detect_operation() -> Json:
    """Parameters, bodies and the answer of both detect routes."""
    ref = {name: {"$ref": _REF.format(model=name)} for name in ("AnswerOut", "AnswersOut", "CocoRow", "InferenceOut")}
    inference_list = {"type": "array", "items": ref["InferenceOut"]}
    kinds = [ref["AnswerOut"], ref["AnswersOut"], {"type": "array", "items": ref["CocoRow"]}, ref["InferenceOut"]]
    return {
        "parameters": [*_query_parameters(), *_header_parameters()],
        "requestBody": {
            "required": True,
            "description": "One image as it is, several as multipart parts named image, or several as JSON.",
            "content": _bodies(),
        },
        "responses": {
            "200": {
                "description": "What was found, in the format asked for; or, by Accept, the picture with it drawn on. "
                "JSON is sent gzipped where Accept-Encoding allows.",
                "content": {JSON: {"schema": {"anyOf": [*kinds, inference_list]}}, PNG: _BINARY, JPEG: _BINARY},
            }
        },
    }


def _query_parameters() -> list[Json]:
    properties = QueryOptions.model_json_schema(ref_template=_REF)["properties"]
    parameters = []
    for name, schema in properties.items():
        if name == "class_score_thresholds":  # a query has no mappings
            schema |= {
                "type": "array",
                "items": {"type": "string", "pattern": r"^[^,]+:(0(\.[0-9]+)?|1)$"},
                "default": [],
            }
            schema.pop("additionalProperties")
        parameter = {"name": name, "in": "query", "required": False, "description": schema.pop("description")}
        examples = schema.pop("examples", None)
        schema.pop("title", None)
        parameters.append(parameter | {"schema": schema} | ({"example": examples[0]} if examples else {}))
    return parameters


def _header_parameters() -> list[Json]:
    return [
        {
            "name": "X-Request-Timeout-Ms",
            "in": "header",
            "description": "Deadline of the request, in milliseconds from its arrival.",
            "schema": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 3_600_000},
            "example": 10_000,
        },
        {
            "name": "X-Request-Priority",
            "in": "header",
            "description": "high goes before normal where requests wait.",
            "schema": {"enum": ["normal", "high"]},
            "example": "normal",
        },
        {
            "name": "X-Request-Id",
            "in": "header",
            "description": "Comes back in the answer and in the log; a new one is made if it is left out.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=-]{1,128}$"},
            "example": "my-request-1",
        },
    ]


def _bodies() -> Json:
    images = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    example = {"images": [{"b64": _example_image_b64()}], "score_threshold": 0.5, "masks": "rle"}
    return {
        **{f"image/{kind}": _BINARY for kind in ("jpeg", "png", "webp", "bmp", "tiff")},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"image": images}, "required": ["image"]},
            "encoding": {"image": {"contentType": "image/jpeg, image/png, image/webp, image/bmp, image/tiff"}},
        },
        JSON: {"schema": {"$ref": _REF.format(model="JsonBody")}, "example": example},
    }


@cache
def _example_image_b64() -> str:
    """A PNG of two bright discs on a dark field, small enough to read past."""
    field = np.full((96, 128), 20, np.uint8)
    for centre, radius in (((40, 40), 14), ((92, 60), 11)):
        cv2.circle(field, centre, radius, 200, -1)
    _, encoded = cv2.imencode(".png", field)
    return base64.b64encode(encoded.tobytes()).decode("ascii")


def complete(app: FastAPI, default_model: Callable[[], str | None], *, secured: bool) -> None:
    """
    Extend app's own document: the schemas of what the routes read and write by themselves, and a name that is served.

    default_model is asked each time: models come and go. secured: callers must say who they are.
    """
    build = app.openapi

    def openapi() -> Json:
        document = build()
        _add_schemas(document, (JsonBody, ProblemOut, AnswerOut, AnswersOut, CocoRow, InferenceOut))
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _tidy(operation, default_model() if "{name}" in path else None)
                if secured and path not in _PUBLIC:
                    _secure(operation)
        if secured:
            document["components"]["securitySchemes"] = _SCHEMES
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend the schema


def _secure(operation: Json) -> None:
    operation["security"] = [{name: []} for name in _SCHEMES]
    for status, answer in problems((errors.Unauthenticated, errors.Forbidden)).items():
        operation["responses"].setdefault(str(status), answer)


def _add_schemas(document: Json, models: tuple[type[BaseModel], ...]) -> None:
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(schemas["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):  # ours are problem documents
        components.pop(unused, None)


def _tidy(operation: Json, name: str | None) -> None:
    """Without FastAPI's own error; with an example of a name."""
    unprocessable = operation["responses"].get("422", {}).get("content", {})
    if "application/problem+json" not in unprocessable:
        operation["responses"].pop("422", None)
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and name is not None:
            parameter["example"] = name
