"""Request bodies -> encoded images: raw, multipart or JSON. Bounded in bytes, time and count before parsing."""

import asyncio
import base64
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from service.api.options import option_error
from service.api.rest.schemas import JsonBody
from service.errors import BodyTooSlow, CallerLeft, InvalidRequest, PayloadTooLarge
from service.memory import Share
from service.proposals import Box

# Base64 takes four bytes for three; form and JSON need a little for their frame.
_JSON_GROWTH, _FRAME_BYTES = 4 / 3, 65_536
# How often a body is in memory at once while it is read: as it came and whole; then its parts; or text and images.
RAW_COPIES, FORM_COPIES, JSON_COPIES = 2, 3, 4
_PIECE_BYTES = 1_000_000  # of a multipart body, parsed before anything else gets a turn on the event loop


@dataclass(frozen=True)
class BodyLimits:
    max_image_bytes: int
    max_images: int
    max_bytes: int  # of the whole body
    timeout_s: float


@dataclass(frozen=True)
class Images:
    """
    What a body held. options is set by JSON bodies only; single marks a raw body, answered without a list.

    proposals are of each image, or () where none were sent.
    """

    bodies: list[bytes]
    single: bool
    options: JsonBody | None = None
    proposals: tuple[tuple[Box, ...], ...] = ()

    def each(self) -> list[tuple[bytes, tuple[Box, ...]]]:
        """Every image with the proposals for it."""
        return list(zip(self.bodies, self.proposals or ((),) * len(self.bodies), strict=True))


async def read_images(request: Request, limits: BodyLimits, share: Share) -> Images:
    """share pays for the body. Raises InvalidRequest, InvalidOption, PayloadTooLarge, BodyTooSlow or Overloaded."""

    async def read(most: float, copies: int) -> bytes:
        return await read_bytes(request, min(int(most), limits.max_bytes), limits.timeout_s, share, copies)

    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        most = limits.max_image_bytes * limits.max_images * _JSON_GROWTH + _FRAME_BYTES
        return await asyncio.to_thread(_from_json, await read(most, JSON_COPIES), limits)
    if kind == "multipart/form-data":
        most = limits.max_image_bytes * limits.max_images + _FRAME_BYTES
        return await _from_form(request.headers, await read(most, FORM_COPIES), limits)
    return Images([await read(limits.max_image_bytes, RAW_COPIES)], single=True)


async def read_bytes(request: Request, max_bytes: int, timeout_s: float, share: Share, copies: int) -> bytes:
    """
    The whole body, paid for by share that many times over as it comes.

    Raises PayloadTooLarge before more than max_bytes are held, Overloaded, BodyTooSlow or CallerLeft.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise PayloadTooLarge(f"The body has {declared} bytes; at most {max_bytes} are accepted.")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                share.add(len(chunk) * copies)
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
        raise option_error(error.errors(include_url=False), tuple(JsonBody.model_fields)) from error
    _check_count(len(parsed.images), limits)
    try:
        bodies = [base64.b64decode(image.b64, validate=True) for image in parsed.images]
    except ValueError as error:
        raise InvalidRequest(f"images: not base64 ({error}).") from error
    return Images(bodies, False, parsed, tuple(tuple(image.proposals) for image in parsed.images))


class _InMemory(MultiPartParser):
    """Files stay in memory: the body is in memory already, and a pod's file system may be read-only."""

    spool_max_size = sys.maxsize


async def _from_form(headers: Headers, body: bytes, limits: BodyLimits) -> Images:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), _PIECE_BYTES):
            yield body[start : start + _PIECE_BYTES]
            await asyncio.sleep(0)  # others may go between two pieces

    try:
        form = await _InMemory(headers, pieces(), max_files=limits.max_images, max_fields=0).parse()
    except MultiPartException as error:
        raise InvalidRequest(f"The multipart body cannot be read: {error.message}") from error
    bodies = [await part.read() for part in form.getlist("image") if isinstance(part, UploadFile)]
    others = sorted(set(form.keys()) - {"image"})
    await form.close()
    if others:
        raise InvalidRequest(f"The multipart body has parts named {', '.join(others)}; expected parts named image.")
    if not bodies:
        raise InvalidRequest("The multipart body has no file part named image.")
    _check_count(len(bodies), limits)
    return Images(bodies, single=False)


def _check_count(count: int, limits: BodyLimits) -> None:
    if count > limits.max_images:
        raise InvalidRequest(f"The request has {count} images; at most {limits.max_images} are accepted.")
