"""Request bodies."""

import tempfile

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.api.rest.bodies import BodyLimits, read_images
from service.errors import InvalidRequest, Overloaded, PayloadTooLarge
from service.memory import BodyMemory

LIMITS = BodyLimits(max_image_bytes=5_000_000, max_images=3, max_bytes=16_000_000, timeout_s=10.0)
MEMORY = BodyMemory(60_000_000, lambda held_bytes: None)


def multipart(*images: bytes) -> Request:
    parts = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + image + b"\r\n"
        for image in images
    )
    body = parts + b"--edge--\r\n"

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=edge")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def test_large_parts_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod's file system may be read-only: three megabytes are read without a temporary file."""

    def rollover(file: object) -> None:
        raise AssertionError("a temporary file was written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    images = [bytes([value]) * 3_000_000 for value in (1, 2)]
    with MEMORY.share() as share:
        assert (await read_images(multipart(*images), LIMITS, share)).bodies == images


async def test_more_parts_or_bytes_than_allowed_are_refused() -> None:
    """Four images of three, and bytes beyond three images' worth."""
    with MEMORY.share() as share:
        with pytest.raises(InvalidRequest, match="3"):
            await read_images(multipart(b"a", b"b", b"c", b"d"), LIMITS, share)
        with pytest.raises(PayloadTooLarge, match="15065536"):
            await read_images(multipart(bytes(15_500_000)), LIMITS, share)


async def test_bodies_share_one_memory_and_give_it_back() -> None:
    """While one request holds its copies the next is refused by reason; once it has gone there is room again."""
    memory, image = BodyMemory(10_000_000, lambda held_bytes: None), bytes(2_000_000)
    with memory.share() as first:
        await read_images(multipart(image), LIMITS, first)
        with pytest.raises(Overloaded) as refused, memory.share() as second:
            await read_images(multipart(image), LIMITS, second)
        assert refused.value.reason == "body_memory" and refused.value.retry_after_s
    with memory.share() as third:
        assert (await read_images(multipart(image), LIMITS, third)).bodies == [image]
