"""
Refuse before anything else is done. Plain ASGI, outside FastAPI.

Three times the capacity means two requests refused for each that is answered, and the event loop that refuses is
the one that answers. Here a refusal costs a fraction of the way through routing, options and body. What is let through
is judged again, and then counted, by the predictor.
"""

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.requests import Accounting, priority, request_id
from service.api.rest.direct import asks_for_detections
from service.api.rest.errors import problem
from service.api.rest.routes import timeout_s_of
from service.detections import ModelId
from service.errors import Overloaded, ServiceError
from service.predictor import Predictor


class EarlyRefusal:
    """Answers requests for detections with 429 while there is no place for them; passes everything else on."""

    def __init__(self, app: ASGIApp, predictor: Predictor, accounting: Accounting) -> None:
        self._app, self._predictor, self._accounting = app, predictor, accounting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = None if self._predictor.is_idle else asks_for_detections(scope)
        refusal = self._refusal(Request(scope), path[1]) if path else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request, name: str | None) -> Response | None:
        version = request.query_params.get("version")
        try:
            high = priority(request.headers.get("x-request-priority")) == "high"
            self._predictor.check_capacity(name, version, timeout_s_of(request), high=high)
        except Overloaded as refusal:
            return self._counted(refusal, request, self._predictor.accepting_model(name, version))
        except ServiceError:
            pass  # the door says what is wrong, in its own words
        return None

    def _counted(self, refusal: Overloaded, request: Request, model: ModelId) -> Response:
        id = request_id(request.headers.get("x-request-id"))
        trace = self._accounting.tracer.begin(request.headers.get("traceparent"))
        with suppress(Overloaded), self._accounting.request("rest", id, trace) as outcome:
            outcome.model = model
            raise refusal
        # Its traceback leads to this frame, which leads to it: a circle, and thousands of them when it matters most.
        return problem(refusal.with_traceback(None), id)
