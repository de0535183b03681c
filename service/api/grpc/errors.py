"""Errors -> gRPC status codes and details. The table is total: a test walks the tree."""

import math
from typing import Any, TypeAlias

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from service import errors

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CODE: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidOption: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.BodyTooSlow: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.PayloadTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ImageTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedMediaType: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UndecodableImage: grpc.StatusCode.INVALID_ARGUMENT,
    errors.AnswerTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CallerLeft: grpc.StatusCode.CANCELLED,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotOffered: grpc.StatusCode.UNIMPLEMENTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NotReady: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.EngineFailed: grpc.StatusCode.INTERNAL,
    errors.BundleInvalid: grpc.StatusCode.INTERNAL,
}


def to_status(error: errors.ServiceError, request_id: str) -> status_pb2.Status:
    """
    An error as google.rpc.Status with the details of https://google.aip.dev/193.

    ErrorInfo (reason: the stable code in capitals), BadRequest where the wrong fields are known, RetryInfo where
    waiting helps.
    """
    details: list[Message] = [_info(error.code, request_id)]
    if isinstance(error, errors.CallerError) and error.violations:
        rows = (error_details_pb2.BadRequest.FieldViolation(field=f, description=d) for f, d in error.violations)
        details.append(error_details_pb2.BadRequest(field_violations=rows))
    if isinstance(error, errors.Unavailable) and error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(math.ceil(error.retry_after_s * 1e3))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return _status(CODE[type(error)], f"{error.code}: {error}", details)


def bug_status(request_id: str) -> status_pb2.Status:
    """What a caller hears of an error that nobody foresaw."""
    code = errors.ServiceError.code
    return _status(grpc.StatusCode.INTERNAL, f"{code}: something broke on our side", [_info(code, request_id)])


def trailers_of(status: status_pb2.Status, request_id: str) -> tuple[tuple[str, bytes | str], ...]:
    """The details as every rich-error client reads them, and the call's id."""
    return ("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", request_id)


def end_call(context: Context, status: status_pb2.Status, request_id: str) -> None:
    """
    Have a unary call end with status, whatever is returned: no message is read beside an error.

    Nothing is raised: what `context.abort` raises is kept with every frame on its way, and their images, until the
    garbage collector comes by.
    """
    context.set_code(_BY_NUMBER[status.code])
    context.set_details(status.message)
    context.set_trailing_metadata(trailers_of(status, request_id))


def _info(code: str, request_id: str) -> error_details_pb2.ErrorInfo:
    metadata = {"code": code, "request_id": request_id}
    return error_details_pb2.ErrorInfo(reason=code.upper(), domain="rcnn", metadata=metadata)


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> status_pb2.Status:
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    number: int = code.value[0]
    return status_pb2.Status(code=number, message=message, details=packed)
