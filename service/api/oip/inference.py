"""The Open Inference Protocol v2, once: what its REST and its gRPC door call. Answers are values or JSON-ready."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson

from service.api.oip.images import Image, read_images
from service.api.oip.metadata import EXTENSIONS, model_config, model_metadata, model_statistics
from service.api.oip.options import Chosen, read_parameters
from service.api.oip.outputs import check_outputs, to_outputs
from service.api.oip.proposals import of_images, split_proposals
from service.api.oip.values import Call, InferRequest, InferResponse, TensorLimits
from service.api.requests import Accounting, Outcome
from service.detections import Answer
from service.errors import CallerError, InvalidOption, InvalidRequest
from service.gathering import all_of
from service.health import Health, State
from service.memory import BodyMemory
from service.models import Models, ServedModel
from service.predictor import Predictor
from service.proposals import Box
from service.repository import Repository
from service.security.audit import audited

_MOST_NAME = 64  # of what a caller made up, in the audit log


class OpenInference:
    """Bound to what it calls. Versions are '' where the caller named none, as the protocol writes it."""

    def __init__(
        self,
        predictor: Predictor,
        models: Models,
        repository: Repository,
        health: Health,
        accounting: Accounting,
        limits: TensorLimits,
        memory: BodyMemory,
        version: str,
    ) -> None:
        self._predictor, self._models, self._repository, self._health = predictor, models, repository, health
        self._statistics, self._version = accounting.metrics.statistics, version
        self.accounting, self.limits, self.memory = accounting, limits, memory

    def accept(self, call: Call, outcome: Outcome) -> None:
        """Note which model is asked. Raises NotReady or ModelNotFound: cheap before a body is read."""
        outcome.model = self._predictor.accepting_model(call.name, call.version or None)

    async def infer(self, request: InferRequest, call: Call, outcome: Outcome) -> InferResponse:
        """
        Detections of every image in request.

        Raises CallerError, Unavailable or Fault; with several images, the message says which.
        """
        if request.model_name not in ("", call.name):
            raise InvalidRequest(
                f"model_name: the body names {request.model_name!r:.100}, the path {call.name!r:.100}."
            )
        model = self._models.get(call.name, call.version or None)
        outputs = check_outputs(request.outputs, model)
        chosen = read_parameters(request.parameters, "masks" in outputs)
        others, sent = await asyncio.to_thread(split_proposals, request.inputs)
        images = await asyncio.to_thread(read_images, others, self.limits)
        answers = await self._detect(images, of_images(sent, len(images)), chosen, call)
        outcome.answers = answers
        return InferResponse(answers[0].model, request.id, to_outputs(answers, outputs))

    async def _detect(
        self, images: list[Image], proposals: tuple[tuple[Box, ...], ...], chosen: Chosen, call: Call
    ) -> list[Answer]:
        timeout_s = _timeout_s(chosen, call.deadline)

        async def one(index: int, image: Image, boxes: tuple[Box, ...]) -> Answer:
            try:
                return await self._predictor.predict(
                    image,
                    chosen.options,
                    model_name=call.name,
                    version=call.version or None,
                    timeout_s=timeout_s,
                    priority=call.priority,
                    proposals=boxes,
                )
            except CallerError as error:
                if len(images) > 1:
                    error.args = (f"Image {index + 1} of {len(images)}: {error}",)
                raise

        both = enumerate(zip(images, proposals, strict=True))
        return await all_of([one(index, image, boxes) for index, (image, boxes) in both])

    def is_ready(self) -> bool:
        return self._health.state is State.READY

    def is_model_ready(self, name: str, version: str) -> bool:
        """Raises ModelNotFound."""
        self._models.get(name, version or None)
        return self.is_ready()

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "rcnn", "version": self._version, "extensions": list(EXTENSIONS)}

    def model_metadata(self, name: str, version: str) -> dict[str, Any]:
        """Raises ModelNotFound, as the next two."""
        model = self._models.get(name, version or None)
        return model_metadata(model, [served.id.version for served in self._models.versions(name)])

    def model_config(self, name: str, version: str) -> dict[str, Any]:
        return model_config(self._models.get(name, version or None))

    def model_statistics(self, name: str, version: str) -> dict[str, Any]:
        """Of one model, of all its versions where none is named, or of every model where no name is given."""
        return {"model_stats": [self._statistics_of(model) for model in self._asked(name, version)]}

    def _asked(self, name: str, version: str) -> tuple[ServedModel, ...]:
        if not name:
            return self._models.all()
        chosen = self._models.get(name, version or None)
        return (chosen,) if version else self._models.versions(name)

    def _statistics_of(self, model: ServedModel) -> dict[str, Any]:
        return model_statistics(model, self._statistics.of(model.id.name, model.id.version))

    def repository_index(self, ready_only: bool) -> list[dict[str, str]]:
        return [
            {
                "name": entry.name,
                "version": entry.version,
                "state": "READY" if entry.ready else "UNAVAILABLE",
                "reason": "" if entry.ready else "not loaded",
            }
            for entry in self._repository.index()
            if entry.ready or not ready_only
        ]

    async def load(self, name: str, parameters: Mapping[str, Any]) -> None:
        """
        Parameter version names one version, as does tritonclient's config={"version": "2"}; the latest otherwise.

        Raises NotReady, NotPermitted, ModelNotFound, InvalidOption, InvalidRequest or BundleInvalid.
        """
        with audited("load", model=name[:_MOST_NAME]) as facts:
            self._health.check_steady()
            _refuse_unknown(parameters, {"version", "config"})
            version = _text("version", parameters.get("version") or _version_in(parameters.get("config")))
            await self._repository.load(name, version)
            served = self._models.get(name, version).id
            facts.update(version=served.version, digest=served.digest)

    async def unload(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Parameter version names one version; all of them otherwise. No model depends on another here."""
        with audited("unload", model=name[:_MOST_NAME]) as facts:
            self._health.check_steady()
            _refuse_unknown(parameters, {"version", "unload_dependents"})
            version = _text("version", parameters.get("version"))
            facts["digests"] = [m.id.digest for m in self._models.versions(name) if version in (None, m.id.version)]
            await self._repository.unload(name, version)


def _timeout_s(chosen: Chosen, deadline: float | None) -> float | None:
    """Seconds left: the sooner of the request's own timeout and the deadline of the call."""
    left_s = [chosen.timeout_s] if chosen.timeout_s is not None else []
    if deadline is not None:
        left_s.append(max(0.0, deadline - time.monotonic()))
    return min(left_s) if left_s else None


def _refuse_unknown(parameters: Mapping[str, Any], known: set[str]) -> None:
    unknown = ", ".join(sorted(set(parameters) - known))
    if unknown:
        raise InvalidOption(f"parameters: unknown {unknown:.200}; known are {', '.join(sorted(known))}.")


def _version_in(config: object) -> object:
    """tritonclient can send nothing but a configuration in JSON: its only key here is version."""
    if config is None:
        return None
    try:
        parsed = orjson.loads(config) if isinstance(config, str | bytes) else config
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"config: not JSON ({error}).") from None
    if not isinstance(parsed, dict) or set(parsed) - {"version"}:
        raise InvalidOption('config: a bundle brings its own configuration; only {"version": "..."} may be given.')
    return parsed.get("version")


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise InvalidOption(f"{name}: expected text, got {value!r:.40}.")
