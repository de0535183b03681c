"""
Detection by the shortest way.

FastAPI looks for parameters and dependencies, of which detection has none, and through its routes and handlers: a tenth
of what a request costs here. The documented routes of the same paths say what is answered.
"""

import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.rest.errors import problem
from service.errors import ServiceError

_DETECT = re.compile(r"/v1/(?:models/([^/]+)/)?detect")


def asks_for_detections(scope: Scope) -> re.Match[str] | None:
    """With the model's name as its group, None for the default; None at once for every other request."""
    return _DETECT.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None


class DirectDetection:
    """Answers requests for detections by detect, given the request and the model's name; passes everything else on."""

    def __init__(self, app: ASGIApp, detect: Callable[[Request, str | None], Awaitable[Response]]) -> None:
        self._app, self._detect = app, detect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = asks_for_detections(scope)
        if path is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            answer = await self._detect(request, path[1])
        except ServiceError as error:
            answer = problem(error, request.state.request_id)
        await answer(scope, receive, send)
