"""The FastAPI application: routes, the page, and every error as a problem document."""

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.requests import request_id
from service.api.rest.direct import DirectDetection
from service.api.rest.docs import add_docs
from service.api.rest.errors import problem, problem_content, problem_response
from service.api.rest.openapi import complete
from service.api.rest.page import serve_page
from service.api.rest.routes import RestDoor
from service.api.rest.status import StatusDoor
from service.errors import EngineFailed, ServiceError
from service.sources import come_from
from service.tracing import Tracer

_DESCRIPTION = "Faster and Mask R-CNN: images in, boxes and masks out. Errors are RFC 9457 problem documents."
_log = structlog.get_logger("rest")


def create_rest_app(door: RestDoor, status: StatusDoor, version: str, tracer: Tracer, *, secured: bool) -> FastAPI:
    """The whole HTTP surface of port 8000. secured: callers must say who they are."""
    app = FastAPI(title="rcnn", version=version, description=_DESCRIPTION, docs_url=None, redoc_url=None)
    app.include_router(door.router())
    app.include_router(status.router())
    serve_page(app)
    add_docs(app)
    app.add_middleware(DirectDetection, detect=door.answer)  # inside the next
    app.add_middleware(Identity, tracer=tracer)
    add_error_handlers(app)
    complete(app, door.default_model, secured=secured)
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Whatever goes wrong in app becomes a problem document."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)


class Identity:
    """
    Gives each request its id and trace, and puts them on the answer.

    Plain ASGI: the route keeps the connection's own receive.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent, state = Headers(scope=scope), scope.setdefault("state", {})
        id = state["request_id"] = request_id(sent.get("x-request-id"))
        come_from(sent.get("x-source"))
        trace = state["trace"] = self._tracer.begin(sent.get("traceparent"))
        traceparent = self._tracer.traceparent(trace)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = id
                if traceparent is not None:
                    headers["traceparent"] = traceparent
            await send(message)

        await self._app(scope, receive, send_with_id)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem(error, request.state.request_id)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = {404: "Not found", 405: "Method not allowed"}.get(error.status_code, "Request refused")
    detail = f"{request.method} {request.url.path}: {error.detail}. See /docs for what is served here."
    code = title.lower().replace(" ", "_")
    content = problem_content(error.status_code, code, title, detail, request.state.request_id)
    return problem_response(content, dict(error.headers or {}))


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("unexpected error", request_id=request.state.request_id, exc_info=error)
    return problem(
        EngineFailed("Something broke on our side; the log line with this request_id says what."),
        request.state.request_id,
    )
