"""The FastAPI application: routes, the page, and every error as a problem document."""

import contextlib

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.requests import accounted, request_id
from service.api.rest.bodies import option_error
from service.api.rest.errors import problem, problem_document
from service.api.rest.page import serve_page
from service.api.rest.routes import RestDoor
from service.api.rest.schemas import JsonBody
from service.api.rest.status import StatusDoor
from service.errors import EngineFailed, ServiceError
from service.metrics import Metrics

_log = structlog.get_logger("rest")


def create_rest_app(door: RestDoor, status: StatusDoor, metrics: Metrics, version: str) -> FastAPI:
    """The whole HTTP surface of port 8000."""
    app = FastAPI(title="rcnn", version=version, description="Faster and Mask R-CNN: images in, boxes and masks out.")
    app.state.metrics = metrics
    app.include_router(door.router())
    app.include_router(status.router())
    serve_page(app)
    app.add_middleware(_RequestId)
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
    _document_json_body(app)
    return app


class _RequestId:
    """Gives each request its id and puts it on the answer. Plain ASGI: the route keeps the connection's own receive."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id = scope.setdefault("state", {})["request_id"] = request_id(Headers(scope=scope).get("x-request-id"))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = id
            await send(message)

        await self._app(scope, receive, send_with_id)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem(error, request.state.request_id)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    refusal = option_error(error.errors())
    with contextlib.suppress(ServiceError), accounted(request.app.state.metrics, "rest", request.state.request_id):
        raise refusal
    return problem(refusal, request.state.request_id)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = {404: "Not found", 405: "Method not allowed"}.get(error.status_code, "Request refused")
    detail = f"{request.method} {request.url.path}: {error.detail}. See /docs for what is served here."
    code = title.lower().replace(" ", "_")
    return problem_document(error.status_code, code, title, detail, request.state.request_id, dict(error.headers or {}))


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("unexpected error", request_id=request.state.request_id, exc_info=error)
    return problem(
        EngineFailed("Something broke on our side; the log line with this request_id says what."),
        request.state.request_id,
    )


def _document_json_body(app: FastAPI) -> None:
    """Put JsonBody among the OpenAPI components: detect reads its body itself, so FastAPI does not see it."""
    build = app.openapi

    def openapi() -> dict[str, object]:
        document = build()
        schema = JsonBody.model_json_schema(ref_template="#/components/schemas/{model}")
        components = document.setdefault("components", {}).setdefault("schemas", {})
        components.update(schema.pop("$defs", {}))
        components.setdefault("JsonBody", schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend the schema
