"""Request bodies -> encoded images: raw, multipart or JSON. Bounded in bytes, time and count before parsing."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from service.api.rest.schemas import JsonBody
from service.detections import DetectOptions
from service.errors import BodyTooSlow, CallerLeft, InvalidOption, InvalidRequest, PayloadTooLarge

# Base64 takes four bytes for three; form and JSON need a little for their frame.
_JSON_GROWTH, _FRAME_BYTES = 4 / 3, 65_536


@dataclass(frozen=True)
class BodyLimits:
    max_image_bytes: int
    max_images: int
    timeout_s: float


@dataclass(frozen=True)
class Images:
    """What a body held. options is set by JSON bodies only; single marks a raw body, answered without a list."""

    bodies: list[bytes]
    single: bool
    options: DetectOptions | None = None


async def read_images(request: Request, limits: BodyLimits) -> Images:
    """Raises InvalidRequest, InvalidOption, PayloadTooLarge or BodyTooSlow."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        most = int(limits.max_image_bytes * limits.max_images * _JSON_GROWTH) + _FRAME_BYTES
        return _from_json(await _read(request, most, limits.timeout_s), limits)
    if kind == "multipart/form-data":
        most = limits.max_image_bytes * limits.max_images + _FRAME_BYTES
        return await _from_form(request, await _read(request, most, limits.timeout_s), limits)
    return Images([await _read(request, limits.max_image_bytes, limits.timeout_s)], single=True)


async def _read(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise PayloadTooLarge(f"The body has {declared} bytes; at most {max_bytes} are accepted.")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise PayloadTooLarge(f"The body has more than {max_bytes} bytes, the most accepted.")
    except ClientDisconnect:
        raise CallerLeft("The caller hung up while sending.") from None
    except TimeoutError:
        raise BodyTooSlow(f"The body did not arrive within {timeout_s:g} s.") from None
    return bytes(body)


def _from_json(body: bytes, limits: BodyLimits) -> Images:
    try:
        parsed = JsonBody.model_validate_json(body)
    except ValidationError as error:
        raise option_error(error.errors()) from error
    _check_count(len(parsed.images), limits)
    try:
        bodies = [base64.b64decode(image.b64, validate=True) for image in parsed.images]
    except ValueError as error:
        raise InvalidRequest(f"images: not base64 ({error}).") from error
    return Images(bodies, single=False, options=parsed.to_values())


async def _from_form(request: Request, body: bytes, limits: BodyLimits) -> Images:
    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        form = await Request(request.scope, replay).form(max_files=limits.max_images, max_fields=0)
    except HTTPException as error:
        raise InvalidRequest(f"The multipart body cannot be read: {error.detail}") from error
    bodies = [await part.read() for part in form.getlist("image") if isinstance(part, UploadFile)]
    await form.close()
    if not bodies:
        raise InvalidRequest("The multipart body has no file part named image.")
    _check_count(len(bodies), limits)
    return Images(bodies, single=False)


def _check_count(count: int, limits: BodyLimits) -> None:
    if count > limits.max_images:
        raise InvalidRequest(f"The request has {count} images; at most {limits.max_images} are accepted.")


def option_error(problems: Sequence[Any]) -> InvalidOption | InvalidRequest:
    """One sentence for the first few things pydantic found wrong."""
    words = "; ".join(f"{_where(row['loc'])}: {row['msg']}" for row in problems[:3])
    about_images = all("images" in row["loc"] or row["type"] == "json_invalid" for row in problems)
    return InvalidRequest(words + ".") if about_images else InvalidOption(words + ".")


def _where(location: Sequence[object]) -> str:
    return ".".join(str(part) for part in location if part not in ("query", "body")) or "body"
