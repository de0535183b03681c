"""The Open Inference Protocol v2 over REST, under /v2. Parses, calls and renders; errors are {"error": "..."}."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.oip.body import decompressed, read_body, write_body
from service.api.oip.inference import OpenInference
from service.api.oip.values import Call
from service.api.requests import priority
from service.api.rest.bodies import FORM_COPIES, JSON_COPIES, read_bytes
from service.api.rest.errors import STATUS, headers_of
from service.api.rest.routes import timeout_s_of, unless_caller_leaves
from service.errors import InvalidRequest, NotOffered, ServiceError

_HEADER_LENGTH = "Inference-Header-Content-Length"
_REPOSITORY_BODY_BYTES = 65_536
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_log = structlog.get_logger("oip")

Endpoint = Callable[[Request], Awaitable[Response]]


class OipRestDoor:
    """The routes, bound to the protocol. timeout_s: how long a body may take to arrive."""

    def __init__(self, oip: OpenInference, body_timeout_s: float) -> None:
        self._oip, self._body_timeout_s = oip, body_timeout_s

    def routes(self) -> list[Route]:
        model = "/v2/models/{name}"
        version = model + "/versions/{version}"
        both = {
            "": self.metadata,
            "/ready": self.model_ready,
            "/config": self.config,
            "/stats": self.statistics,
        }
        return [
            _route("/v2", self.server),
            _route("/v2/health/live", self.live),
            _route("/v2/health/ready", self.ready),
            _route("/v2/models/stats", self.statistics),
            *(_route(base + path, endpoint) for base in (version, model) for path, endpoint in both.items()),
            *(_route(base + "/infer", self.infer, "POST") for base in (version, model)),
            *self.repository_routes(),
            Route("/v2/{rest:path}", _answering(_not_offered), methods=list(_METHODS)),
        ]

    def repository_routes(self) -> list[Route]:
        """Which models there are, and changing that."""
        return [
            _route("/v2/repository/index", self.index, "POST"),
            _route("/v2/repository/models/{name}/load", self.load, "POST"),
            _route("/v2/repository/models/{name}/unload", self.unload, "POST"),
        ]

    async def infer(self, request: Request) -> Response:
        arrived = time.monotonic()
        id, trace = request.state.request_id, request.state.trace
        accounted = self._oip.accounting.request("oip_rest", id, trace)
        with accounted as outcome, self._oip.memory.share() as share:
            timeout_s, goes = timeout_s_of(request), priority(request.headers.get("x-request-priority"))
            deadline = None if timeout_s is None else arrived + timeout_s  # the body's arrival included
            call = Call(*_model(request), deadline, goes)
            self._oip.accept(call, outcome)
            most = self._oip.limits.max_body_bytes
            header_length = request.headers.get(_HEADER_LENGTH)
            copies = JSON_COPIES if header_length is None else FORM_COPIES
            body = await read_bytes(request, most, self._body_timeout_s, share, copies)
            encoding = request.headers.get("content-encoding")
            body = await asyncio.to_thread(decompressed, body, encoding, most, lambda more: share.add(copies * more))
            inference, wanted = await asyncio.to_thread(read_body, body, header_length, self._oip.limits)
            answer = await unless_caller_leaves(request, self._oip.infer(inference, call, outcome))
            content, json_length = await asyncio.to_thread(write_body, answer, wanted)
        if json_length is None:
            return Response(content, media_type="application/json")
        return Response(content, headers={_HEADER_LENGTH: str(json_length)}, media_type="application/octet-stream")

    async def live(self, request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = self._oip.is_ready()
        return _json({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        ready = self._oip.is_model_ready(*_model(request))
        return _json({"name": _model(request)[0], "ready": ready}, 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        return _json(self._oip.server_metadata())

    async def metadata(self, request: Request) -> Response:
        return _json(self._oip.model_metadata(*_model(request)))

    async def config(self, request: Request) -> Response:
        return _json(self._oip.model_config(*_model(request)))

    async def statistics(self, request: Request) -> Response:
        return _json(self._oip.model_statistics(*_model(request)))

    async def index(self, request: Request) -> Response:
        sent = await self._object(request)
        return _json(self._oip.repository_index(sent.get("ready") is True))

    async def load(self, request: Request) -> Response:
        await self._oip.load(_model(request)[0], await self._parameters(request))
        return Response()

    async def unload(self, request: Request) -> Response:
        await self._oip.unload(_model(request)[0], await self._parameters(request))
        return Response()

    async def _parameters(self, request: Request) -> dict[str, Any]:
        parameters = (await self._object(request)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidRequest("parameters: expected a JSON object.")
        return parameters

    async def _object(self, request: Request) -> dict[str, Any]:
        with self._oip.memory.share() as share:
            body = await read_bytes(request, _REPOSITORY_BODY_BYTES, self._body_timeout_s, share, JSON_COPIES)
        try:
            parsed = orjson.loads(body or b"{}")
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"The request is not JSON ({error}).") from None
        if not isinstance(parsed, dict):
            raise InvalidRequest("The request should be a JSON object.")
        return parsed


def _route(path: str, endpoint: Endpoint, method: str = "GET") -> Route:
    return Route(path, _answering(endpoint), methods=[method])


def _answering(endpoint: Endpoint) -> Endpoint:
    """endpoint with every error as the protocol writes it."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ServiceError as error:
            return oip_problem(error, request.state.request_id)
        except Exception as error:
            _log.error("unexpected error", request_id=request.state.request_id, exc_info=error)
            return _json(
                {"error": "internal: something broke on our side; the log line with this X-Request-Id says what."}, 500
            )

    return answer


def oip_problem(error: ServiceError, request_id: str) -> Response:
    """An error as the protocol writes it."""
    headers = {**headers_of(error), "X-Request-Id": request_id}
    return _json({"error": f"{error.code}: {error}"}, STATUS[type(error)], headers)


async def _not_offered(request: Request) -> Response:
    raise NotOffered(
        f"{request.method} {request.url.path:.200} is not offered here. GET /v2 lists the extensions that are; "
        "shared memory, tracing and logging are not among them."
    )


def _model(request: Request) -> tuple[str, str]:
    """Name and version from the path; '' where it has none."""
    return request.path_params.get("name", ""), request.path_params.get("version", "")


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
