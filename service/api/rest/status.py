"""A glance at the service for people and scripts without a metrics server: what the page's live panel shows."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.health import Health
from service.metrics import Metrics
from service.models import Models, ServedModel
from service.recent import WINDOW_S


class ModelStatusOut(BaseModel):
    """One served model. Latency and rate are over the last minute; latency is that of answers, refusals left out."""

    name: str
    version: str
    digest: str
    engine: str
    precision: str
    default: bool
    queue_depth: int = Field(ge=0, description="Images waiting for a batch.")
    queued_work_s: float = Field(ge=0, description="Predicted seconds of engine work inside: the autoscaling signal.")
    requests: int = Field(ge=0, description="Requests that ended.")
    failed: int = Field(ge=0, description="Those of them that got no answer: refused, failed or gone.")
    answers_per_s: float = Field(ge=0)
    p50_s: float | None = Field(description="Seconds from the first byte read to the answer; null without an answer.")
    p95_s: float | None


class StatusOut(BaseModel):
    """The state of this process."""

    state: Literal["starting", "ready", "stalled", "draining"]
    in_flight_requests: int = Field(ge=0, description="Images inside, of all models.")
    window_s: float = Field(gt=0, description="Seconds that requests, rates and latencies look back.")
    models: list[ModelStatusOut]


class StatusDoor:
    """GET /v1/status, bound to what it reads."""

    def __init__(self, models: Models, health: Health, metrics: Metrics) -> None:
        self._models, self._health, self._metrics = models, health, metrics

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/v1/status", self.status, response_model=StatusOut, summary="Load at a glance")
        return router

    async def status(self, response: Response) -> dict[str, Any]:
        """What goes on now, of this process alone. Alerts and history belong to the metrics port."""
        response.headers["Cache-Control"] = "no-store"
        return {
            "state": self._health.state.value,
            "in_flight_requests": self._metrics.in_flight_now,
            "window_s": WINDOW_S,
            "models": [self._of(model) for model in self._models.all()],
        }

    def _of(self, model: ServedModel) -> dict[str, Any]:
        recent = self._metrics.recent.of(model.id.name, model.id.version)
        return {
            "name": model.id.name,
            "version": model.id.version,
            "digest": model.id.digest,
            "engine": model.engine.name,
            "precision": model.engine.precision,
            "default": model is self._models.get(),
            "queue_depth": model.batcher.depth,
            "queued_work_s": round(model.batcher.queued_work_s(), 4),
            "requests": recent.requests,
            "failed": recent.failed,
            "answers_per_s": round(recent.answers_per_s, 3),
            "p50_s": recent.p50_s,
            "p95_s": recent.p95_s,
        }
