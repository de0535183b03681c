"""The operators' port: metrics, changes to the models served, and probes that need no client certificate."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.rest.app import Identity, add_error_handlers
from service.api.rest.oip import OipRestDoor
from service.api.rest.routes import RestDoor
from service.tracing import Tracer


def create_admin_app(
    door: RestDoor, oip: OipRestDoor, scrapes: ASGIApp, drift: Callable[[], dict[str, Any]], tracer: Tracer
) -> FastAPI:
    """The whole HTTP surface of port 8002. scrapes answers /metrics, drift what Drift.report says."""
    app = FastAPI(title="rcnn admin", openapi_url=None, docs_url=None, redoc_url=None)
    for path, probe in (("/livez", door.livez), ("/readyz", door.readyz), ("/startupz", door.startupz)):
        app.add_api_route(path, probe, response_model=None)

    async def read_drift() -> dict[str, Any]:
        return drift()

    app.add_api_route("/drift", read_drift, response_model=None)
    app.router.routes.append(Route("/metrics", _Scrapes(scrapes)))
    app.router.routes.extend(oip.repository_routes())
    app.add_middleware(Identity, tracer=tracer)
    add_error_handlers(app)
    return app


class _Scrapes:
    """An ASGI application as a route's endpoint: of a plain function, Starlette would make a request handler."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
