"""Who may call is asked before a message is read. The one interceptor of the gRPC door."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health

from service.api.grpc.errors import Context, end_call, to_status
from service.api.grpc.oip import SERVICE as OIP
from service.api.grpc.proto import detection_pb2 as pb
from service.api.requests import Accounting, request_id
from service.errors import NotPermitted, ServiceError
from service.security.caller import UNKNOWN, Scope, become
from service.security.guard import ADMIN_ELSEWHERE, Guard

_OURS = pb.DESCRIPTOR.services_by_name["DetectionService"].full_name
_PUBLIC = (f"/{health.SERVICE_NAME}/", f"/{OIP}/ServerLive", f"/{OIP}/ServerReady")
_ADMIN = (f"/{OIP}/RepositoryModelLoad", f"/{OIP}/RepositoryModelUnload")
_IMAGES = (f"/{_OURS}/Detect", f"/{OIP}/ModelInfer", f"/{OIP}/ModelStreamInfer")

Details = grpc.HandlerCallDetails
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class GrpcGuard(grpc.aio.ServerInterceptor):
    """Ends calls that may not pass with UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED."""

    def __init__(self, guard: Guard, accounting: Accounting, *, admin_here: bool) -> None:
        """admin_here: whether models may be changed through this door."""
        self._guard, self._accounting, self._admin_here = guard, accounting, admin_here

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable["Handler | None"]], handler_call_details: Details
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: the server says so
            return handler
        sent = {key: value for key, value in handler_call_details.invocation_metadata or () if isinstance(value, str)}
        try:
            self._admit(handler_call_details.method, sent)
        except ServiceError as refusal:
            id = request_id(sent.get("x-request-id"))
            trace = self._accounting.tracer.begin(sent.get("traceparent"))
            with suppress(ServiceError), self._accounting.request("grpc", id, trace, "enter"):
                raise refusal
            return _refusing(handler, refusal, id)
        return handler

    def _admit(self, method: str, sent: dict[str, str]) -> None:
        """Make this task the caller's. Raises what ends the call."""
        scope = _scope_of(method)
        if scope is not None:
            become(UNKNOWN)
            asking = self._guard.identify(sent.get("authorization"), sent.get("x-api-key"))
            become(asking)
            self._guard.check(asking, scope, images=method.startswith(_IMAGES))
            if scope == "admin" and not self._admin_here:
                raise NotPermitted(ADMIN_ELSEWHERE)


def _scope_of(method: str) -> Scope | None:
    """What a method needs; None: nothing. One that nobody thought of needs detect."""
    if method.startswith(_ADMIN):
        return "admin"
    return None if method.startswith(_PUBLIC) else "detect"


def _refusing(handler: Handler, error: ServiceError, id: str) -> Handler:
    """A handler of the same shape that ends every call with error."""
    status = to_status(error, id)

    async def unary(request: Any, context: Context) -> None:
        end_call(context, status, id)

    async def stream(request: Any, context: Context) -> Any:
        end_call(context, status, id)
        return
        yield  # pragma: no cover - makes it a generator, as a streaming handler is

    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    shape = (bool(handler.request_streaming), bool(handler.response_streaming))
    answer: Any = stream if shape[1] else unary
    made: Handler = makers[shape](answer)
    return made
