"""Messages that are none of their type: INVALID_ARGUMENT, where grpc by itself says UNKNOWN and logs a traceback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from service.api.grpc.errors import CODE, to_status
from service.api.requests import Accounting, request_id
from service.errors import InvalidRequest

Details = grpc.HandlerCallDetails
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Check = Callable[[Any, Context], Awaitable[None]]


class _Unreadable:
    """Stands for a message that could not be read."""

    def __init__(self, error: DecodeError) -> None:
        self.refusal = InvalidRequest(f"The message cannot be read as what the method takes: {error}.")


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
            answer = _checking_stream(handler.stream_stream, self._refuse_unreadable)
            return grpc.stream_stream_rpc_method_handler(answer, read, handler.response_serializer)
        if not handler.request_streaming and not handler.response_streaming:
            answer = _checking(handler.unary_unary, self._refuse_unreadable)
            return grpc.unary_unary_rpc_method_handler(answer, read, handler.response_serializer)
        return handler

    async def _refuse_unreadable(self, request: Any, context: Context) -> None:
        if not isinstance(request, _Unreadable):
            return
        id = request_id(None)
        with (
            suppress(InvalidRequest),
            self._accounting.request("grpc", id, self._accounting.tracer.begin(None), "enter"),
        ):
            raise request.refusal
        status = to_status(request.refusal, id)
        trailers = (("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", id))
        await context.abort(CODE[type(request.refusal)], status.message, trailers)


def _reading(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read_or_mark(message: bytes) -> Any:
        try:
            return read(message)
        except DecodeError as error:
            return _Unreadable(error)

    return read_or_mark


def _checking(behaviour: Any, check: Check) -> Any:
    async def checked(request: Any, context: Context) -> Any:
        await check(request, context)
        return await behaviour(request, context)

    return checked


def _checking_stream(behaviour: Any, check: Check) -> Any:
    async def checked(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async def readable() -> AsyncIterator[Any]:
            async for request in requests:
                await check(request, context)
                yield request

        async for response in behaviour(readable(), context):
            yield response

    return checked
