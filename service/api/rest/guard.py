"""Who may pass is asked before anything else is done, a body read least of all. Plain ASGI, outside FastAPI."""

import re
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from service.api.requests import Accounting, request_id
from service.api.rest.errors import problem
from service.api.rest.oip import oip_problem
from service.errors import Forbidden, NotPermitted, ServiceError
from service.security.caller import ANYBODY, UNKNOWN, Scope, asked_by
from service.security.guard import ADMIN_ELSEWHERE, Guard

_ADMIN = "/v2/repository/models"
_IMAGES = re.compile(r"/v1/(models/[^/]+/)?detect|/v2/models/.*/infer")


@dataclass(frozen=True)
class Rules:
    """What a port asks for: nothing on public paths, admin for changes to models, `other` for all that is left."""

    public: re.Pattern[str]
    other: Scope
    admin_here: bool  # whether models may be changed through this port


def main_rules(admin_here: bool) -> Rules:
    """Probes come without keys; the page and its reference are code anybody has, and hold no picture."""
    page = r"|/|/openapi\.json|/docs(/.*)?|/ui/.*"
    return Rules(re.compile(r"/livez|/readyz|/startupz|/v2/health/(live|ready)" + page), "detect", admin_here)


def admin_rules() -> Rules:
    return Rules(re.compile(r"/livez|/readyz|/startupz"), "metrics", True)


class RestGuard:
    """Answers 401, 403 or 429 to who may not pass; tells everything inside who asks."""

    def __init__(self, app: ASGIApp, guard: Guard, accounting: Accounting, rules: Rules) -> None:
        self._app, self._guard, self._accounting, self._rules = app, guard, accounting, rules

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers, asking = scope["path"], Headers(scope=scope), ANYBODY
        wanted = self._wanted(path)
        try:
            if wanted is not None:
                asking = UNKNOWN
                asking = self._guard.identify(headers.get("authorization"), headers.get("x-api-key"))
                self._guard.check(asking, wanted, images=_IMAGES.fullmatch(path) is not None)
                if wanted == "admin":
                    self._check_change(headers)
        except ServiceError as refusal:
            with asked_by(asking):
                answer = self._refusal(refusal, path, headers)
            await answer(scope, receive, send)
            return
        with asked_by(asking):
            await self._app(scope, receive, send)

    def _refusal(self, error: ServiceError, path: str, headers: Headers) -> Response:
        id = request_id(headers.get("x-request-id"))
        trace = self._accounting.tracer.begin(headers.get("traceparent"))
        with suppress(ServiceError), self._accounting.request("rest", id, trace, "enter"):
            raise error
        return oip_problem(error, id) if path.startswith("/v2") else problem(error, id)

    def _wanted(self, path: str) -> Scope | None:
        """The scope a path needs; None: nothing."""
        if path.startswith(_ADMIN):
            return "admin"
        return None if self._rules.public.fullmatch(path) else self._rules.other

    def _check_change(self, headers: Headers) -> None:
        """Raises NotPermitted or Forbidden."""
        if not self._rules.admin_here:
            raise NotPermitted(ADMIN_ELSEWHERE)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            # A page from elsewhere, in the browser of somebody who reaches this port.
            raise Forbidden("Models are not changed at the wish of another site's page.")
