"""The REST door. It parses, calls the predictor, and renders; nothing else."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from service.api.requests import accounted, priority
from service.api.rest.bodies import BodyLimits, Images, read_images
from service.api.rest.schemas import AnswerOut, AnswersOut, ModelOut, ModelsOut, ProblemOut, QueryOptions, render_answer
from service.detections import Answer, DetectOptions
from service.errors import CallerLeft, InvalidOption, ModelNotFound
from service.health import Health, State
from service.images import Limits, decode
from service.metrics import Metrics
from service.models import Models, ServedModel
from service.postprocess.overlay import draw, encode
from service.predictor import Predictor

_PICTURES = ("image/png", "image/jpeg")
_JPEG_SIDE_PX = 65_500  # libjpeg's own limit
_IMAGE_BODY = {"schema": {"type": "string", "format": "binary"}}
_DETECT_BODY = {
    "requestBody": {
        "required": True,
        "description": "One image as it is, several as multipart parts named image, or several as JSON.",
        "content": {
            **{f"image/{kind}": _IMAGE_BODY for kind in ("jpeg", "png", "webp", "bmp", "tiff")},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/JsonBody"}},
        },
    }
}
_PROBLEM_CODES = (400, 404, 408, 413, 415, 422, 429, 500, 503, 504)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemOut, "content": {"application/problem+json": {}}} for status in _PROBLEM_CODES
}


class RestDoor:
    """The routes, bound to what they call."""

    def __init__(
        self, predictor: Predictor, models: Models, health: Health, metrics: Metrics, body: BodyLimits, image: Limits
    ) -> None:
        self._predictor, self._models, self._health, self._metrics = predictor, models, health, metrics
        self._body_limits, self._image_limits = body, image

    def router(self) -> APIRouter:
        router = APIRouter()
        detect: dict[str, Any] = {
            "methods": ["POST"],
            "response_model": AnswerOut | AnswersOut,
            "responses": _PROBLEMS,
            "openapi_extra": _DETECT_BODY,
        }
        router.add_api_route("/v1/detect", self.detect, summary="Detect with the default model", **detect)
        router.add_api_route("/v1/models/{name}/detect", self.detect, summary="Detect with a named model", **detect)
        router.add_api_route("/v1/models", self.list_models, response_model=ModelsOut, summary="The models served")
        not_found: dict[int | str, dict[str, Any]] = {404: _PROBLEMS[404]}
        router.add_api_route("/v1/models/{name}", self.show_model, response_model=ModelOut, responses=not_found)
        router.add_api_route("/v1/models/{name}/examples/{file}", self.example, include_in_schema=False)
        router.add_api_route("/livez", self.livez, summary="Is the event loop alive?")
        router.add_api_route("/readyz", self.readyz, summary="Are requests welcome?")
        router.add_api_route("/startupz", self.startupz, summary="Are the models loaded?")
        return router

    async def detect(
        self, request: Request, options: Annotated[QueryOptions, Query()], name: str | None = None
    ) -> Response:
        """Find objects in one or more images. Boxes are in the pixels of the image as a person sees it."""
        arrived, accept = time.monotonic(), _accepted(request)
        with accounted(self._metrics, "rest", request.state.request_id) as outcome:
            timeout_s, goes = _timeout_s(request), priority(request.headers.get("x-request-priority"))
            outcome.model = self._predictor.accepting_model(name, options.version)
            images = await read_images(request, self._body_limits)
            chosen = _chosen(images, options, accept)
            if timeout_s is not None:  # the deadline counts from the request's arrival, its body's included
                timeout_s = max(0.0, timeout_s - (time.monotonic() - arrived))
            calls = [
                self._predictor.predict(
                    body, chosen, model_name=name, version=options.version, timeout_s=timeout_s, priority=goes
                )
                for body in images.bodies
            ]
            outcome.answers = await _unless_caller_leaves(request, _all(calls))
            return await self._render(images, outcome.answers, accept, request.state.request_id)

    async def _render(self, images: Images, answers: list[Answer], accept: str, request_id: str) -> Response:
        if accept in _PICTURES:
            picture = await asyncio.to_thread(self._draw, images.bodies[0], answers[0], accept)
            return Response(picture, media_type=accept)
        rendered = [render_answer(answer, request_id) for answer in answers]
        return Response(orjson.dumps(rendered[0] if images.single else {"results": rendered}), media_type=accept)

    def _draw(self, body: bytes, answer: Answer, media_type: str) -> bytes:
        if media_type == "image/jpeg" and max(answer.detections.image_hw) > _JPEG_SIDE_PX:
            raise InvalidOption(f"Accept: a JPEG has at most {_JPEG_SIDE_PX} pixels a side; ask for image/png.")
        return encode(draw(decode(body, self._image_limits), answer.detections), media_type)

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
            "postprocess": manifest.postprocess.model_dump(),
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

    async def livez(self) -> dict[str, str]:
        return {"status": "alive"}

    async def readyz(self) -> JSONResponse:
        return self._state_is(self._health.state is State.READY)

    async def startupz(self) -> JSONResponse:
        return self._state_is(self._health.state is not State.STARTING)

    def _state_is(self, good: bool) -> JSONResponse:
        return JSONResponse({"status": self._health.state.value}, 200 if good else 503)


def _chosen(images: Images, query: QueryOptions, accept: str) -> DetectOptions:
    """The options in force: a JSON body's own, else the query's; a drawn picture needs polygons, and one image."""
    in_query = query.model_fields_set - {"version"}
    if images.options and in_query:
        raise InvalidOption(f"{', '.join(sorted(in_query))}: with a JSON body, options belong into the body.")
    chosen = images.options or query.to_values()
    if accept not in _PICTURES:
        return chosen
    if len(images.bodies) > 1:
        raise InvalidOption("Accept: a drawn picture is made of one image; several were sent.")
    return replace(chosen, masks="polygon")


async def _unless_caller_leaves(request: Request, answering: Coroutine[Any, Any, list[Answer]]) -> list[Answer]:
    """Await answering, but cancel it as soon as the client hangs up: nobody would read the answer."""
    task = asyncio.create_task(answering)
    leaving = asyncio.ensure_future(request.receive())  # after the body, the next message is the disconnect
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise CallerLeft("The caller hung up before the answer was ready.")
        return task.result()
    finally:
        task.cancel()
        leaving.cancel()


async def _all(calls: list[Any]) -> list[Answer]:
    """Await every call; the first error is raised and the others are cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _accepted(request: Request) -> str:
    """The kind of answer wanted: JSON unless a picture is asked for by name."""
    accept = request.headers.get("accept", "*/*")
    if "application/json" in accept or "text/html" in accept:  # a browser's own Accept names pictures too
        return "application/json"
    return next((kind for kind in _PICTURES if kind in accept), "application/json")


def _timeout_s(request: Request) -> float | None:
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
