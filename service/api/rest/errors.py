"""Errors -> RFC 9457 problem documents. The table is total: a test walks the tree."""

import math
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from service import errors

STATUS: dict[type[errors.ServiceError], int] = {
    errors.InvalidOption: HTTPStatus.BAD_REQUEST,
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.ModelNotFound: HTTPStatus.NOT_FOUND,
    errors.BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    errors.PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UndecodableImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.AnswerTooLarge: HTTPStatus.BAD_REQUEST,
    errors.CallerLeft: 499,  # the customary number for a closed connection
    errors.NotPermitted: HTTPStatus.FORBIDDEN,
    errors.NotOffered: HTTPStatus.NOT_FOUND,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.QuotaExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.EngineFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.BundleInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def problem(error: errors.ServiceError, request_id: str) -> JSONResponse:
    """The problem document of an error, with Retry-After in whole seconds where waiting helps."""
    content = problem_content(STATUS[type(error)], error.code, error.title, str(error), request_id)
    if isinstance(error, errors.CallerError) and error.violations:
        content["errors"] = [{"field": field, "detail": what} for field, what in error.violations]
    return problem_response(content, headers_of(error))


def headers_of(error: errors.ServiceError) -> dict[str, str]:
    """Retry-After in whole seconds where waiting helps; what to authenticate with (RFC 6750) where that is missing."""
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="rcnn"'}
    if isinstance(error, errors.Unavailable) and error.retry_after_s is not None:
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    return {}


def problem_content(status: int, code: str, title: str, detail: str, request_id: str) -> dict[str, Any]:
    """RFC 9457, with members of our own: the stable code and the request's id."""
    return {
        "type": f"urn:rcnn:problem:{code}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def problem_response(content: dict[str, Any], headers: dict[str, str]) -> JSONResponse:
    headers |= {"X-Request-Id": content["request_id"]}
    return JSONResponse(content, content["status"], headers, media_type="application/problem+json")
