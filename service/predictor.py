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
from service.batching import Ticket
from service.detections import (
    SOFT_NMS_SIGMA,
    Answer,
    Detections,
    DetectOptions,
    ModelId,
    NmsOptions,
    Priority,
)
from service.detector import Found, Work
from service.errors import DeadlineExceeded, InvalidOption, Overloaded
from service.gathering import all_of
from service.health import Health
from service.images import Limits
from service.models import Models, ServedModel
from service.postprocess.fusion import asked_of_views
from service.proposals import Box
from service.response_cache import ResponseCache, cache_key
from service.security.caller import current_caller
from service.stages import Canvas, finish, prepare
from service.stopwatch import Stopwatch
from service.tracing import current_trace
from service.views import views_of

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

    @property
    def is_idle(self) -> bool:
        """Whether nobody is inside, nor runs for nobody any more: who comes then is never refused."""
        return self._admission.is_empty and all(model.batcher.is_idle for model in self._models.all())

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
        caller, views = current_caller(), views_of(options.tta)
        caller.allowance.charge(len(views))
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
                    slot = self._admission.slot(drain_s, priority == "high", caller.shares_as, len(views))
                    with slot as goes_first:
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
        # In the loop's next turn, once the answer is on its way.
        asyncio.get_running_loop().call_soon(self._observer.answered, answer)
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
        watch: Stopwatch,
        proposals: tuple[Box, ...],
    ) -> Detections:
        """What is in the picture, by running it through the model."""
        caller, views = current_caller().shares_as, views_of(options.tta)
        admitted = model.batcher.admit(deadline, high=goes_first, caller=caller, items=len(views))
        with admitted as ticket, model.uses.one():
            # In one go: as many whole images are in memory as there are threads, however many wait for a batch.
            steps = partial(prepare, picture, self._limits, model.bundle.manifest, proposals, views)
            canvases, preprocess_s = await self._in_thread(steps)
            watch.lap("decode", preprocess=preprocess_s)
            found = await self._look(canvases, options, nms, model, ticket, watch)
            geometries = [one.geometry for one in canvases]
            last = partial(finish, found, geometries, nms, model.bundle.manifest, options.masks, self._max_mask_bytes)
            # Boxes alone take less than the way to a thread and back.
            detections = last() if _are_boxes_alone(found) else await self._in_thread(last)
            watch.lap("encode")
        return detections

    async def _look(
        self,
        canvases: Sequence[Canvas],
        options: DetectOptions,
        nms: NmsOptions,
        model: ServedModel,
        ticket: Ticket,
        watch: Stopwatch,
    ) -> list[Found]:
        """What the engine finds in each view of the picture; they wait side by side, each for a batch of its canvas."""
        wants_masks, trace = options.masks != "none" and model.segments, current_trace.get()
        asked_nms = nms if len(canvases) == 1 else asked_of_views(nms)
        asked = []
        for one in canvases:
            size_hw, canvas_hw = one.geometry.resized_hw, one.geometry.canvas_hw
            work = Work(one.pixels, size_hw, asked_nms, wants_masks, model.finds_keypoints, trace, one.regions)
            padded = canvas_hw[0] * canvas_hw[1]
            asked.append(model.batcher.submit(ticket, work, canvas_hw, padded, masked=wants_masks))
        answers = await all_of(asked)
        batches = {id(found.stages_s): found.stages_s for found, _, _ in answers}.values()  # views may share a batch
        stages_s = {stage: sum(batch.get(stage, 0.0) for batch in batches) for batch in batches for stage in batch}
        inside_s = max(queue_s + sum(found.stages_s.values()) for found, queue_s, _ in answers)
        queue_s = max(inside_s - sum(stages_s.values()), 0.0)
        watch.record(max(size for _, _, size in answers), canvases[0].geometry.canvas_hw, queue=queue_s, **stages_s)
        return [found for found, _, _ in answers]

    async def _in_thread(
        self, step: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: step(*args, **kwargs))


def _are_boxes_alone(found: Sequence[Found]) -> bool:
    return len(found) == 1 and found[0].probabilities is None and found[0].heatmaps is None


def resolve_options(options: DetectOptions, model: ServedModel) -> NmsOptions:
    """
    Fill in the bundle's defaults.

    Raises InvalidOption naming the model's labels if a class is not among them, or if it has no such views.
    """
    _check_views(options, model)
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


def _check_views(options: DetectOptions, model: ServedModel) -> None:
    """Raises InvalidOption where model cannot be shown the views that options ask for."""
    if options.tta and model.finds_keypoints:
        raise InvalidOption("tta: not of a keypoints model: which of its points change sides in a mirror is not known.")
    if "scale" in options.tta and model.engine.compiles_by_shape:
        raise InvalidOption(
            f"tta: no scale here: the engine {model.engine.name} compiles each canvas for seconds before it is served, "
            "and those of other scales are not. Ask for flip."
        )
