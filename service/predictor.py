"""The request path, top to bottom, in one coroutine. Open this file first."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.admission import Admission
from service.bundle import Manifest
from service.detections import (
    SOFT_NMS_SIGMA,
    Answer,
    Detections,
    DetectOptions,
    Keypoints,
    MaskFormat,
    ModelId,
    NmsOptions,
    Priority,
    Timings,
)
from service.detector import Found, Work
from service.errors import DeadlineExceeded, InvalidOption, Overloaded
from service.health import Health
from service.images import Limits, decode
from service.models import Models, ServedModel
from service.postprocess.finish import finish
from service.postprocess.keypoints import locate
from service.preprocess import Geometry, to_canvas
from service.proposals import Box, regions_on_canvas
from service.response_cache import ResponseCache, cache_key
from service.security.caller import current_caller
from service.tracing import current_trace

_MEMORY_RETRY_AFTER_S = 1.0
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class AnswerObserver(Protocol):
    """Reads every answer on its way out."""

    def answered(self, answer: Answer) -> None: ...


class ExchangeObserver(Protocol):
    """Reads every question with the answer it was given."""

    def exchanged(
        self, picture: bytes | NDArray[np.uint8], options: DetectOptions, score_threshold: float, answer: Answer
    ) -> None: ...


class Predictor:
    """One image in, its detections out, by any served model."""

    def __init__(
        self,
        models: Models,
        health: Health,
        admission: Admission,
        threads: Executor,
        limits: Limits,
        default_timeout_s: float,
        max_mask_bytes: int,
        cache: ResponseCache,
        observer: AnswerObserver,
        exchanges: ExchangeObserver | None = None,
    ) -> None:
        self._models, self._health, self._admission, self._threads = models, health, admission, threads
        self._limits, self._default_timeout_s, self._observer = limits, default_timeout_s, observer
        self._max_mask_bytes, self._cache, self._exchanges = max_mask_bytes, cache, exchanges

    def accepting_model(self, name: str | None = None, version: str | None = None) -> ModelId:
        """Which model would answer. Raises NotReady or ModelNotFound: cheap to ask before a body is read."""
        self._health.check_accepting()
        return self._models.get(name, version).id

    def check_capacity(
        self, name: str | None, version: str | None, timeout_s: float | None, *, high: bool = False
    ) -> None:
        """Raises Overloaded if a request that came now would be refused; NotReady or ModelNotFound as above."""
        self._health.check_accepting()
        batcher = self._models.get(name, version).batcher
        caller = current_caller().shares_as
        goes_first = self._admission.check(batcher.queued_work_s(), high, caller)
        deadline = time.monotonic() + (self._default_timeout_s if timeout_s is None else timeout_s)
        batcher.check(deadline, high=goes_first, caller=caller)

    async def predict(
        self,
        picture: bytes | NDArray[np.uint8],
        options: DetectOptions,
        *,
        model_name: str | None = None,
        version: str | None = None,
        timeout_s: float | None = None,
        priority: Priority = "normal",
        proposals: tuple[Box, ...] = (),
    ) -> Answer:
        """
        Detections in the pixels of the image as a person sees it, best score first.

        picture is an encoded image, or one decoded already: (H, W, 3) uint8 RGB within the caller's own limits.
        The door has asked accepting_model when the request came: what was accepted then is answered while draining too.
        proposals: the only regions a Fast R-CNN then looks at, in pixels of the image; such answers are not compared.
        timeout_s counts from this call. Raises CallerError, Unavailable or Fault (service.errors), nothing else.
        """
        watch = Stopwatch()
        deadline = time.monotonic() + (self._default_timeout_s if timeout_s is None else timeout_s)
        caller = current_caller()
        caller.allowance.charge()
        model = self._models.get(model_name, version)
        nms = resolve_options(options, model)
        try:
            async with asyncio.timeout_at(deadline):  # the event loop's clock is time.monotonic()
                key = b""
                if self._cache.is_on:
                    key = await self._in_thread(cache_key, picture, options, model.id.digest, proposals)
                detections = self._cache.get(key)
                is_kept = detections is not None
                if detections is None:
                    drain_s = model.batcher.queued_work_s()
                    with self._admission.slot(drain_s, priority == "high", caller.shares_as) as goes_first:
                        ask = partial(
                            self._detect, picture, options, nms, model, deadline, goes_first, watch, proposals
                        )
                        detections, is_kept = await self._cache.share(key, ask)
                if is_kept:
                    watch.lap("cache")
        except TimeoutError:
            raise DeadlineExceeded("The deadline passed before the answer was ready.") from None
        except MemoryError:
            raise Overloaded("There is no memory for this image now.", _MEMORY_RETRY_AFTER_S, "memory") from None
        answer = Answer(model.id, detections, watch.timings(is_kept if self._cache.is_on else None))
        self._observer.answered(answer)
        if self._exchanges is not None and not proposals:
            self._exchanges.exchanged(picture, options, nms.score_threshold, answer)
        return answer

    async def _detect(
        self,
        picture: bytes | NDArray[np.uint8],
        options: DetectOptions,
        nms: NmsOptions,
        model: ServedModel,
        deadline: float,
        goes_first: bool,
        watch: "Stopwatch",
        proposals: tuple[Box, ...],
    ) -> Detections:
        """What is in the picture, by running it through the model."""
        caller = current_caller().shares_as
        with model.batcher.admit(deadline, high=goes_first, caller=caller) as ticket, model.uses.one():
            # In one go: as many whole images are in memory as there are threads, however many wait for a batch.
            prepare = partial(_prepare, picture, self._limits, model.bundle.manifest, proposals)
            canvas, geometry, regions, preprocess_s = await self._in_thread(prepare)
            watch.lap("decode", preprocess=preprocess_s)
            wants_masks = options.masks != "none" and model.segments
            trace = current_trace.get()
            work = Work(canvas, geometry.resized_hw, nms, wants_masks, model.finds_keypoints, trace, regions)
            pixels = canvas.shape[0] * canvas.shape[1]
            found, queue_s, batch_size = await model.batcher.submit(
                ticket, work, geometry.canvas_hw, pixels, masked=wants_masks
            )
            watch.record(batch_size, geometry.canvas_hw, queue=queue_s, **found.stages_s)
            detections = await self._in_thread(_finish, found, geometry, model, options.masks, self._max_mask_bytes)
            watch.lap("encode")
        return detections

    async def _in_thread(
        self, step: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: step(*args, **kwargs))


def resolve_options(options: DetectOptions, model: ServedModel) -> NmsOptions:
    """Fill in the bundle's defaults. Raises InvalidOption naming the model's labels if a class is not among them."""
    defaults = model.bundle.manifest.postprocess
    thresholds = {
        **(defaults.class_score_thresholds if options.score_threshold is None else {}),  # a caller's own beats them
        **options.class_score_thresholds,
    }
    return NmsOptions(
        score_threshold=defaults.score_threshold if options.score_threshold is None else options.score_threshold,
        iou_threshold=defaults.iou_threshold if options.iou_threshold is None else options.iou_threshold,
        method=options.nms,
        class_agnostic=options.class_agnostic,
        max_detections=options.max_detections or defaults.max_detections,
        label_ids=frozenset(_label_ids("classes", options.classes, model)) or None,
        soft_nms_sigma=SOFT_NMS_SIGMA if options.soft_nms_sigma is None else options.soft_nms_sigma,
        label_score_thresholds=dict(
            zip(_label_ids("class_score_thresholds", tuple(thresholds), model), thresholds.values(), strict=True)
        ),
        calibration=model.bundle.manifest.score_calibration(),
    )


def _label_ids(option: str, names: Sequence[str], model: ServedModel) -> list[int]:
    labels = model.bundle.manifest.labels
    unknown = [name for name in names if name not in labels]
    if unknown:
        raise InvalidOption(f"{option}: {model.id.name} has no {', '.join(unknown)}; it has {', '.join(labels)}.")
    return [labels.index(name) + 1 for name in names]


def _prepare(
    picture: bytes | NDArray[np.uint8], limits: Limits, manifest: Manifest, proposals: tuple[Box, ...]
) -> tuple[NDArray[np.uint8], Geometry, NDArray[np.float32] | None, float]:
    """The picture on its canvas, how it got there, regions to look at, and the seconds that took beside decoding."""
    image = picture if isinstance(picture, np.ndarray) else decode(picture, limits)  # (H, W, 3) uint8 RGB
    start = time.perf_counter()
    canvas, geometry = to_canvas(image, manifest.preprocess)
    regions = regions_on_canvas(manifest.proposals, proposals, geometry.image_hw, geometry.resized_hw)
    return canvas, geometry, regions, time.perf_counter() - start


def _finish(
    found: Found, geometry: Geometry, model: ServedModel, mask_format: MaskFormat, max_mask_bytes: int
) -> Detections:
    boxes_xyxy, labels = geometry.to_image_pixels(found.picked.boxes_xyxy), model.bundle.manifest.labels
    image_hw, keypoints = geometry.image_hw, _keypoints(found, geometry, model)
    return finish(
        found.picked, boxes_xyxy, found.probabilities, image_hw, labels, mask_format, max_mask_bytes, keypoints
    )


def _keypoints(found: Found, geometry: Geometry, model: ServedModel) -> Keypoints | None:
    skeleton = model.bundle.manifest.keypoints
    if found.heatmaps is None or skeleton is None:
        return None
    points_xys = locate(found.heatmaps, found.picked.boxes_xyxy, len(skeleton.names))
    points_xys[..., :2] = geometry.points_to_image_pixels(points_xys[..., :2])
    return Keypoints(points_xys, skeleton.names, skeleton.limbs)


class Stopwatch:
    """Seconds by stage. A lap counts from the end of the last lap or record."""

    def __init__(self) -> None:
        self._start = self._mark = time.perf_counter()
        self._stages_s: dict[str, float] = {}
        self._starts_s: dict[str, float] = {}
        self._batch_size = 0
        self._canvas_hw: tuple[int, int] | None = None

    def lap(self, stage: str, **parts_s: float) -> None:
        """parts_s: stages measured elsewhere which the lap held too."""
        now = time.perf_counter()
        own_s = now - self._mark - sum(parts_s.values())
        for name, seconds in {stage: own_s, **parts_s}.items():
            self._starts_s[name], self._stages_s[name] = self._mark, seconds
            self._mark += seconds
        self._mark = now

    def record(self, batch_size: int, canvas_hw: tuple[int, int], **stages_s: float) -> None:
        """Stages measured elsewhere, one after the other, and in what company and shape they were run."""
        for stage, seconds in stages_s.items():
            self._starts_s[stage], self._stages_s[stage] = self._mark, seconds
            self._mark += seconds
        self._batch_size, self._canvas_hw = batch_size, canvas_hw
        self._mark = time.perf_counter()

    def timings(self, from_cache: bool | None) -> Timings:
        total_s = time.perf_counter() - self._start
        return Timings(self._stages_s, total_s, self._batch_size, from_cache, self._canvas_hw, self._starts_s)
