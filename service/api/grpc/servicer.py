"""rcnn.v1.DetectionService: parses, calls the predictor, renders; nothing else."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import grpc
import structlog
from google.rpc import status_pb2

from service.api.grpc.convert import to_options, to_response
from service.api.grpc.errors import bug_status, end_call, to_status
from service.api.grpc.in_order import in_order
from service.api.grpc.limits import MESSAGE_COPIES
from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.api.requests import Accounting, priority, request_id
from service.errors import InvalidOption, ServiceError
from service.memory import BodyMemory
from service.predictor import Predictor
from service.sources import come_from
from service.tracing import Trace

_MOST_TIMEOUT_MS = 3_600_000
_log = structlog.get_logger("grpc")

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class _Call:
    """What a call says about all of its requests."""

    id: str
    priority: str | None
    timeout_s: float | None
    traceparent: str | None


class DetectionServicer(pb_grpc.DetectionServiceServicer):
    """Both methods answer one image by the same coroutine."""

    def __init__(
        self, predictor: Predictor, accounting: Accounting, memory: BodyMemory, max_in_flight_per_stream: int
    ) -> None:
        self._predictor, self._accounting, self._memory = predictor, accounting, memory
        self._most = max_in_flight_per_stream

    async def Detect(self, request: pb.DetectRequest, context: Context) -> pb.DetectResponse:
        call = _read_call(context, context.time_remaining())
        trace = self._accounting.tracer.begin(call.traceparent)
        say_trace(context, self._accounting.tracer.traceparent(trace))
        outcome = await self._outcome(request, call, trace)
        if isinstance(outcome, status_pb2.Status):
            end_call(context, outcome, call.id)
            return pb.DetectResponse()
        return outcome

    async def DetectStream(
        self, requests: AsyncIterator[pb.DetectRequest], context: Context
    ) -> AsyncIterator[pb.DetectStreamResponse]:
        # The call's own deadline cancels the whole stream; an image has the default's time, or its own.
        call = _read_call(context, None)

        async def answer(index: int, request: pb.DetectRequest) -> pb.DetectStreamResponse:
            trace = self._accounting.tracer.begin(call.traceparent)
            outcome = await self._outcome(request, replace(call, id=f"{call.id}/{index}"), trace)
            if isinstance(outcome, status_pb2.Status):
                error = pb.Status(code=outcome.code, message=outcome.message, details=outcome.details)
                return pb.DetectStreamResponse(index=index, error=error)
            return pb.DetectStreamResponse(index=index, answer=outcome)

        async for response in in_order(requests, answer, self._most):
            yield response

    async def _outcome(
        self, request: pb.DetectRequest, call: _Call, trace: Trace | None
    ) -> pb.DetectResponse | status_pb2.Status:
        """One image's answer, or the status that says why there is none."""
        try:
            return await self._answer(request, call, trace)
        except ServiceError as error:
            return to_status(error, call.id)
        except Exception as error:
            _log.error("unexpected error", request_id=call.id, exc_info=error)
            return bug_status(call.id)

    async def _answer(self, request: pb.DetectRequest, call: _Call, trace: Trace | None) -> pb.DetectResponse:
        name, version = request.model or None, request.version or None
        with self._accounting.request("grpc", call.id, trace) as outcome, self._memory.share() as share:
            outcome.model = self._predictor.accepting_model(name, version)
            share.add(request.ByteSize() * MESSAGE_COPIES)
            answer = await self._predictor.predict(
                request.image,
                to_options(request.options),
                model_name=name,
                version=version,
                timeout_s=_timeout_s(request, call),
                priority=priority(call.priority),
                proposals=tuple((box.x1, box.y1, box.x2, box.y2) for box in request.proposals),
            )
            outcome.answers = [answer]
            return to_response(answer, call.id)


def _timeout_s(request: pb.DetectRequest, call: _Call) -> float | None:
    if not request.HasField("timeout_ms"):
        return call.timeout_s
    if not 0 < request.timeout_ms < _MOST_TIMEOUT_MS:
        raise InvalidOption(f"timeout_ms: expected above 0 and below an hour, got {request.timeout_ms}.")
    own_s = request.timeout_ms / 1e3
    return own_s if call.timeout_s is None else min(own_s, call.timeout_s)


def _read_call(context: Context, timeout_s: float | None) -> _Call:
    sent = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    come_from(sent.get("x-source"))
    id, goes, traceparent = (sent.get(name) for name in ("x-request-id", "x-request-priority", "traceparent"))
    return _Call(request_id(id), goes, timeout_s, traceparent)


def say_trace(context: Context, traceparent: str | None) -> None:
    """Let the caller find the trace of its call, in the trailers."""
    if traceparent is not None:
        context.set_trailing_metadata((("traceparent", traceparent),))
