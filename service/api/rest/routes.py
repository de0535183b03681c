"""The REST door. It parses, calls the predictor, and renders; nothing else."""

import asyncio
import gzip
import time
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.requests import Accounting, priority
from service.api.rest.accepts import JPEG, JSON, wanted_kind, wants_gzip
from service.api.rest.answers import render
from service.api.rest.bodies import BodyLimits, read_images
from service.api.rest.openapi import DETECT_ERRORS, MODEL_ERRORS, detect_operation, problems
from service.api.rest.schemas import ModelOut, ModelsOut, StateOut
from service.api.rest.wishes import choose, read_query
from service.detections import Answer
from service.engine.precision import ap_lost
from service.errors import CallerLeft, InvalidOption, ModelNotFound
from service.gathering import all_of
from service.health import Health, State
from service.images import Limits, decode
from service.memory import BodyMemory
from service.models import Models, ServedModel
from service.postprocess.overlay import draw, encode
from service.predictor import Predictor

Result = TypeVar("Result")

_DRAWN_BYTES_PER_PIXEL = 9  # the copy drawn on, that turned for encoding, and at most as much encoded
_JPEG_SIDE_PX = 65_500  # libjpeg's own limit
_GZIP_LEAST_BYTES, _GZIP_LEVEL = 1_000, 1  # beyond the first level, JSON of numbers shrinks little


class RestDoor:
    """The routes, bound to what they call."""

    def __init__(
        self,
        predictor: Predictor,
        models: Models,
        health: Health,
        accounting: Accounting,
        body: BodyLimits,
        image: Limits,
        memory: BodyMemory,
    ) -> None:
        self._predictor, self._models, self._health, self._accounting = predictor, models, health, accounting
        self._body_limits, self._image_limits, self._memory = body, image, memory

    def router(self) -> APIRouter:
        router = APIRouter()
        detect: dict[str, Any] = {
            "methods": ["POST"],
            "response_class": Response,
            "responses": problems(DETECT_ERRORS),
            "openapi_extra": detect_operation(),
        }
        router.add_api_route("/v1/detect", self.detect, summary="Detect with the default model", **detect)
        named: dict[str, Any] = {"summary": "Detect with a named model", **detect}
        router.add_api_route("/v1/models/{name}/detect", self.detect_with, **named)
        listed: dict[str, Any] = {"responses": problems(MODEL_ERRORS)}
        router.add_api_route("/v1/models", self.list_models, response_model=ModelsOut, summary="The models served")
        router.add_api_route("/v1/models/{name}", self.show_model, response_model=ModelOut, **listed)
        router.add_api_route("/v1/models/{name}/examples/{file}", self.example, include_in_schema=False)
        probe: dict[str, Any] = {"response_model": StateOut, "responses": {503: {"model": StateOut}}}
        router.add_api_route("/livez", self.livez, summary="Are the event loop and the engines alive?", **probe)
        router.add_api_route("/readyz", self.readyz, summary="Are requests welcome?", **probe)
        router.add_api_route("/startupz", self.startupz, summary="Are the models loaded?", **probe)
        return router

    def default_model(self) -> str | None:
        """Its name, None while nothing is served."""
        return next((model.id.name for model in self._models.all()), None)

    async def detect(self, request: Request) -> Response:
        """Find objects in one or more images. Boxes are in the pixels of the image as a person sees it."""
        return await self.answer(request, None)

    async def detect_with(self, request: Request, name: str) -> Response:
        """Find objects in one or more images. Boxes are in the pixels of the image as a person sees it."""
        return await self.answer(request, name)

    async def answer(self, request: Request, name: str | None) -> Response:
        """Detections by the named model, None for the default, for either of the two routes."""
        arrived, id = time.monotonic(), request.state.request_id
        accounted = self._accounting.request("rest", id, request.state.trace)
        with accounted as outcome, self._memory.share() as share:
            version = request.query_params.get("version")
            outcome.model = self._predictor.accepting_model(name, version)
            timeout_s, goes = timeout_s_of(request), priority(request.headers.get("x-request-priority"))
            query = read_query(request.query_params.multi_items())
            images = await read_images(request, self._body_limits, share)
            wish = choose(images, query, wanted_kind(request))
            if timeout_s is not None:  # the deadline counts from the request's arrival, its body's included
                timeout_s = max(0.0, timeout_s - (time.monotonic() - arrived))
            calls = [
                self._predictor.predict(
                    body,
                    wish.options,
                    model_name=name,
                    version=version,
                    timeout_s=timeout_s,
                    priority=goes,
                    proposals=boxes,
                )
                for body, boxes in images.each()
            ]
            outcome.answers = await unless_caller_leaves(request, all_of(calls))
            if wish.kind == JSON:
                body = render(outcome.answers, wish.format, images.single, id, wish.image_id)
                return await _json(request, body, _cache_header(outcome.answers))
            picture = await asyncio.to_thread(self._draw, images.bodies[0], outcome.answers[0], wish.kind)
            headers = {"Vary": "Accept", **_cache_header(outcome.answers)}
            return Response(picture, media_type=wish.kind, headers=headers)

    def _draw(self, body: bytes, answer: Answer, media_type: str) -> bytes:
        if media_type == JPEG and max(answer.detections.image_hw) > _JPEG_SIDE_PX:
            raise InvalidOption(f"Accept: a JPEG has at most {_JPEG_SIDE_PX} pixels a side; ask for image/png.")
        image, memory = decode(body, self._image_limits), self._image_limits.memory
        with memory.room(image[:, :, 0].size * _DRAWN_BYTES_PER_PIXEL) if memory else nullcontext():
            return encode(draw(image, answer.detections), media_type)

    async def list_models(self) -> dict[str, Any]:
        """All models served; the first is the default."""
        return {"models": [self._describe(model) for model in self._models.all()]}

    async def show_model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """One model: what it finds, what it runs on, its defaults."""
        return self._describe(self._models.get(name, version))

    def _describe(self, model: ServedModel) -> dict[str, Any]:
        manifest = model.bundle.manifest
        base = f"/v1/models/{manifest.name}/examples/"
        return {
            "name": manifest.name,
            "version": manifest.version,
            "digest": model.bundle.digest,
            "task": manifest.task,
            "architecture": manifest.architecture,
            "labels": list(manifest.labels),
            "state": "ready",
            "default": model is self._models.get(),
            "engine": model.engine.name,
            "precision": model.engine.precision,
            "ap_lost": ap_lost(model.bundle, model.engine.precision),
            "postprocess": manifest.postprocess.model_dump(exclude_defaults=True),
            "calibrated": manifest.calibration is not None,
            "canvas_grid": list(manifest.preprocess.canvas_grid),
            "keypoints": manifest.keypoints and manifest.keypoints.model_dump(),
            "examples": [base + path.removeprefix("golden/") for path in model.bundle.golden_images()],
        }

    async def example(self, name: str, file: str) -> Response:
        """One of the model's own example pictures."""
        bundle = self._models.get(name).bundle
        if f"golden/{file}" not in bundle.golden_images():
            raise ModelNotFound(f"Model {name} has no example {file}.")
        kind = "image/png" if file.endswith(".png") else "image/jpeg"
        return Response(await asyncio.to_thread(bundle.path(f"golden/{file}").read_bytes), media_type=kind)

    async def livez(self) -> JSONResponse:
        if self._health.state is State.STALLED:
            return self._state_is(False)
        return JSONResponse({"status": "alive"})

    async def readyz(self) -> JSONResponse:
        return self._state_is(self._health.state is State.READY)

    async def startupz(self) -> JSONResponse:
        return self._state_is(self._health.state is not State.STARTING)

    def _state_is(self, good: bool) -> JSONResponse:
        return JSONResponse({"status": self._health.state.value}, 200 if good else 503)


def _cache_header(answers: list[Answer]) -> dict[str, str]:
    """X-Cache: hit where every answer was kept, miss where one was not; nothing where none are ever kept."""
    kept = [answer.timings.from_cache for answer in answers]
    return {} if None in kept else {"X-Cache": "hit" if all(kept) else "miss"}


async def _json(request: Request, content: object, more_headers: dict[str, str]) -> Response:
    """content as JSON, gzipped where that is wanted and worth it."""
    body, headers = orjson.dumps(content), {"Vary": "Accept, Accept-Encoding", **more_headers}
    if len(body) >= _GZIP_LEAST_BYTES and wants_gzip(request):
        body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=JSON, headers=headers)


async def unless_caller_leaves(request: Request, answering: Coroutine[Any, Any, Result]) -> Result:
    """Await answering, but cancel it as soon as the client hangs up: nobody would read the answer."""
    now = asyncio.get_running_loop().time
    leaving = asyncio.ensure_future(request.receive())  # after the body, the next message is the disconnect
    staying = asyncio.timeout(None)
    is_waiting = True

    def hang_up(_: object) -> None:
        if is_waiting:  # else both came in one turn of the loop
            staying.reschedule(now())

    leaving.add_done_callback(hang_up)
    try:
        async with staying:
            return await answering
    except TimeoutError:
        if not staying.expired():
            raise
        raise CallerLeft("The caller hung up before the answer was ready.") from None
    finally:
        is_waiting = False
        leaving.cancel()


def timeout_s_of(request: Request) -> float | None:
    """The deadline the caller set in X-Request-Timeout-Ms. Raises InvalidOption."""
    sent = request.headers.get("x-request-timeout-ms")
    if sent is None:
        return None
    try:
        timeout_ms = float(sent)
    except ValueError:
        timeout_ms = 0.0
    if not 0 < timeout_ms < 3_600_000:
        raise InvalidOption(f"X-Request-Timeout-Ms: expected milliseconds above 0 and below an hour, got {sent!r}.")
    return timeout_ms / 1e3
