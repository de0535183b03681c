"""Messages that are none of their type: INVALID_ARGUMENT, where grpc by itself says UNKNOWN and logs a traceback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from service.api.grpc.errors import CODE, Context, end_call, to_status, trailers_of
from service.api.requests import Accounting, request_id
from service.errors import InvalidRequest

Details = grpc.HandlerCallDetails
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class _Unreadable:
    """Stands for a message that could not be read."""

    def __init__(self, error: DecodeError) -> None:
        self.refusal = InvalidRequest(f"The message cannot be read as what the method takes: {error}.")


Refuse = Callable[[_Unreadable], tuple[Status, str]]


class ReadableMessages(grpc.aio.ServerInterceptor):
    """Ends a call at its first unreadable message, and counts it."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable["Handler | None"]], handler_call_details: Details
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        read = _reading(handler.request_deserializer)
        if handler.request_streaming and handler.response_streaming:
            answer = _checking_stream(handler.stream_stream, self._counted)
            return grpc.stream_stream_rpc_method_handler(answer, read, handler.response_serializer)
        if not handler.request_streaming and not handler.response_streaming:
            answer = _checking(handler.unary_unary, self._counted)
            return grpc.unary_unary_rpc_method_handler(answer, read, handler.response_serializer)
        return handler

    def _counted(self, request: _Unreadable) -> tuple[Status, str]:
        """What its caller hears, and the call's id."""
        id = request_id(None)
        with (
            suppress(InvalidRequest),
            self._accounting.request("grpc", id, self._accounting.tracer.begin(None), "enter"),
        ):
            raise request.refusal
        return to_status(request.refusal.with_traceback(None), id), id


def _reading(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read_or_mark(message: bytes) -> Any:
        try:
            return read(message)
        except DecodeError as error:
            return _Unreadable(error)

    return read_or_mark


def _checking(behaviour: Any, refuse: Refuse) -> Any:
    async def checked(request: Any, context: Context) -> Any:
        if isinstance(request, _Unreadable):
            return end_call(context, *refuse(request))
        return await behaviour(request, context)

    return checked


def _checking_stream(behaviour: Any, refuse: Refuse) -> Any:
    async def checked(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async def readable() -> AsyncIterator[Any]:
            async for request in requests:
                if isinstance(request, _Unreadable):
                    status, id = refuse(request)
                    await context.abort(CODE[type(request.refusal)], status.message, trailers_of(status, id))
                yield request

        async for response in behaviour(readable(), context):
            yield response

    return checked
