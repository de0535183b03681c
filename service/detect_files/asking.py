"""Who answers `rcnn detect`: a running service over REST, or bundles loaded into this process."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import httpx

from service.api.options import VersionedOptions
from service.api.requests import request_id
from service.api.rest.answers import render_answer
from service.app import Service
from service.detections import DetectOptions
from service.errors import Overloaded
from service.images import decode
from service.postprocess.overlay import draw, encode
from service.settings import Settings

Json = dict[str, Any]
Result = TypeVar("Result")
_SHORTEST_WAIT_S = 0.05


class Detector(Protocol):
    """Answers one encoded image. Raises Refused, ServiceError or httpx.HTTPError; Busy if it may go better later."""

    async def answer(self, body: bytes) -> Json:
        """The detections, as REST answers them."""
        ...

    async def picture(self, body: bytes) -> bytes:
        """A PNG with the detections drawn."""
        ...


class Refused(Exception):
    """The service said no; the message is its own."""


class Busy(Refused):
    """Refused for want of capacity, with the time after which to ask again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


async def patiently(ask: Callable[[], Awaitable[Result]], patience_s: float) -> Result:
    """Ask again, each time after as long as the service wishes, for at most patience_s. Raises the last Busy."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            return await ask()
        except Busy as busy:
            wait_s = max(busy.retry_after_s, _SHORTEST_WAIT_S)
            if time.monotonic() + wait_s > give_up:
                raise
            await asyncio.sleep(wait_s)


class Remote:
    """A service at the other end of client; options are sent as query parameters."""

    def __init__(self, client: httpx.AsyncClient, model: str | None, options: Mapping[str, Any]) -> None:
        self._client, self._options = client, options
        self._endpoint = f"/v1/models/{model}/detect" if model else "/v1/detect"

    async def answer(self, body: bytes) -> Json:
        answer = (await self._post(body, "application/json")).json()
        if not isinstance(answer, dict) or "detections" not in answer:
            raise Refused("the answer holds no detections; is this address an rcnn service?")
        return answer

    async def picture(self, body: bytes) -> bytes:
        response = await self._post(body, "image/png")
        if response.headers.get("content-type") != "image/png":
            raise Refused("the answer is no picture; is this address an rcnn service?")
        return response.content

    async def _post(self, body: bytes, accept: str) -> httpx.Response:
        headers = {"Accept": accept, "Content-Type": "application/octet-stream"}
        response = await self._client.post(self._endpoint, params=self._options, content=body, headers=headers)
        if not response.is_success:
            words = f"{response.status_code} {_words(response)}"
            retry_after_s = _retry_after_s(response)
            raise Refused(words) if retry_after_s is None else Busy(words, retry_after_s)
        return response


def _words(response: httpx.Response) -> str:
    """A problem document's own detail; whatever stands between us and the service may answer in other words."""
    try:
        return str(response.json()["detail"])
    except (ValueError, TypeError, KeyError):
        return response.text[:200]


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header, which may hold a date instead (RFC 9110, 10.2.3); None where there is none."""
    sent = response.headers.get("retry-after", "")
    if response.status_code not in (429, 503) or not sent:
        return None
    try:
        return float(sent)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(sent) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


class Local:
    """Bundles in this process, through the same path that serves them."""

    def __init__(self, service: Service, model: str | None, options: VersionedOptions, timeout_s: float) -> None:
        self._service, self._model, self._version = service, model, options.version
        self._options, self._timeout_s = options.to_values(), timeout_s

    async def answer(self, body: bytes) -> Json:
        return render_answer(await self._predict(body, self._options), request_id(None))

    async def picture(self, body: bytes) -> bytes:
        answer = await self._predict(body, replace(self._options, masks="polygon"))

        def drawn() -> bytes:
            return encode(draw(decode(body, self._service.image_limits), answer.detections), "image/png")

        return await asyncio.to_thread(drawn)

    async def _predict(self, body: bytes, options: DetectOptions) -> Any:
        try:
            return await self._service.predictor.predict(
                body, options, model_name=self._model, version=self._version, timeout_s=self._timeout_s
            )
        except Overloaded as error:
            raise Busy(str(error), error.retry_after_s or 0.0) from error


@asynccontextmanager
async def remote(
    url: httpx.URL, model: str | None, options: VersionedOptions, timeout_s: float
) -> AsyncIterator[Remote]:
    """A detector on the service at url."""
    async with httpx.AsyncClient(base_url=url, timeout=timeout_s) as client:
        yield Remote(client, model, options.to_query())


@asynccontextmanager
async def local(
    settings: Settings, model: str | None, options: VersionedOptions, timeout_s: float
) -> AsyncIterator[Local]:
    """A detector on the bundles of settings, loaded for the block. Raises BundleInvalid or ModelNotFound."""
    service = Service(settings)
    await service.load()
    try:
        service.models.get(model, options.version)
        yield Local(service, model, options, timeout_s)
    finally:
        await service.unload()
