"""Every metric, declared once: unit and labels in sight. The only importer of prometheus_client."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_asgi_app

from service.detections import Answer, ModelId
from service.gpu import GpuReading
from service.pairing import Pairing
from service.recent import RecentRequests
from service.statistics import Statistics

# An edge at every SLO threshold: p50 80 ms, p95 200 ms (Faster) and 250 ms (Mask).
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
_SHARES = (0, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1)
_SLOWDOWNS = (0.25, 0.5, 2 / 3, 0.8, 1 / 1.1, 1, 1.1, 1.25, 1.5, 2, 4)  # every edge with its inverse
_COUNTS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)

UNKNOWN_MODEL = "(unknown)"  # one label for whatever names callers make up; no model can be called so


class Metrics:
    """The process's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.recent, self.in_flight_now = RecentRequests(), 0
        self.statistics = Statistics()
        by_request = ["model", "version", "protocol"]
        self._requests = Counter(
            "rcnn_requests", "Requests answered, by outcome.", [*by_request, "outcome"], registry=r
        )
        self._duration = Histogram(
            "rcnn_request_duration_seconds",
            "Time from the first byte read to the answer.",
            by_request,
            buckets=_SECONDS,
            registry=r,
        )
        self._stage = Histogram(
            "rcnn_stage_duration_seconds",
            "Time spent by a request in each stage.",
            ["model", "stage"],
            buckets=_STAGE_SECONDS,
            registry=r,
        )
        self._batch_size = Histogram("rcnn_batch_size", "Images in a batch.", ["model"], buckets=_BATCH, registry=r)
        self._padding = Histogram(
            "rcnn_batch_padding_ratio",
            "Share of an image's canvas that is padding.",
            ["model"],
            buckets=_RATIOS,
            registry=r,
        )
        self._queue_depth = Gauge("rcnn_queue_depth", "Images waiting for a batch.", ["model"], registry=r)
        self._queued_work = Gauge(
            "rcnn_queued_work_seconds", "Seconds of engine work waiting: the autoscaling signal.", ["model"], registry=r
        )
        self._in_flight = Gauge("rcnn_in_flight_requests", "Requests inside.", registry=r)
        self._body_memory = Gauge(
            "rcnn_body_memory_bytes", "Memory held by request bodies and their copies.", registry=r
        )
        self._shed = Counter("rcnn_shed", "Requests refused for want of capacity.", ["reason"], registry=r)
        self._rejected = Counter("rcnn_rejected_inputs", "Requests refused for their content.", ["reason"], registry=r)
        self._cancelled = Counter(
            "rcnn_cancelled", "Requests whose caller left or ran out of time.", ["stage"], registry=r
        )
        self._cache_hits = Counter("rcnn_response_cache_hits", "Answers given without running a model.", registry=r)
        self._cache_misses = Counter("rcnn_response_cache_misses", "Answers not kept, and computed.", registry=r)
        self._cache_bytes = Gauge("rcnn_response_cache_bytes", "Memory taken by answers kept.", registry=r)
        self._cache_entries = Gauge("rcnn_response_cache_entries", "Answers kept.", registry=r)
        by_pair = ["model", "candidate"]
        self._shadow_pairs = Counter(
            "rcnn_shadow_pairs",
            "Images answered by a candidate too, by the gravest difference.",
            [*by_pair, "outcome"],
            registry=r,
        )
        self._shadow_objects = Counter(
            "rcnn_shadow_objects",
            "Objects in pairs of answers, by what became of them.",
            [*by_pair, "outcome"],
            registry=r,
        )
        self._shadow_disagreement = Histogram(
            "rcnn_shadow_disagreement_ratio",
            "Share of both answers' objects without a partner that agrees.",
            by_pair,
            buckets=_SHARES,
            registry=r,
        )
        self._shadow_slowdown = Histogram(
            "rcnn_shadow_slowdown_ratio",
            "The candidate's work on an image over the stable model's, without waiting.",
            by_pair,
            buckets=_SLOWDOWNS,
            registry=r,
        )
        self._shadow_dropped = Counter(
            "rcnn_shadow_dropped", "Requests meant for a candidate that it was not asked.", ["reason"], registry=r
        )
        self._detections = Counter("rcnn_detections", "Objects found.", ["model", "label"], registry=r)
        self._score = Histogram(
            "rcnn_detection_score", "Scores of objects found.", ["model"], buckets=_RATIOS, registry=r
        )
        self._per_image = Histogram(
            "rcnn_detections_per_image", "Objects found in an image.", ["model"], buckets=_COUNTS, registry=r
        )
        info = ["model", "version", "digest", "engine", "precision"]
        self._model_info = Gauge("rcnn_model_info", "1 for each model served.", info, registry=r)
        self._load = Gauge("rcnn_model_load_duration_seconds", "Time to load and check a model.", ["model"], registry=r)
        self._gpu = {
            field: Gauge(f"rcnn_gpu_{field}", text, ["gpu"], registry=r)
            for field, text in (
                ("utilization_ratio", "Share of time a kernel was running."),
                ("memory_used_bytes", "Device memory in use."),
                ("memory_total_bytes", "Device memory there is."),
                ("temperature_celsius", "Device temperature."),
                ("power_watts", "Power drawn."),
            )
        }

    def asgi_app(self) -> Callable[..., Any]:
        """Answers scrapes, in OpenMetrics where the scraper asks for it."""
        return make_asgi_app(self.registry)

    def answered(self, answer: Answer) -> None:
        self.statistics.answered(answer)
        model, found = answer.model.name, answer.detections
        for stage, seconds in answer.timings.stages_s.items():
            self._stage.labels(model, stage).observe(seconds)
        self._per_image.labels(model).observe(len(found))
        for label, score in zip(found.labels, found.scores, strict=True):
            self._detections.labels(model, label).inc()
            self._score.labels(model).observe(float(score))

    def request_done(self, model: ModelId | None, protocol: str, outcome: str, seconds: float) -> None:
        """outcome is ok or the error's stable code. Where the request named no model served here, model is None."""
        name, version = (model.name, model.version) if model else (UNKNOWN_MODEL, "")
        self._requests.labels(name, version, protocol, outcome).inc()
        if model is not None:
            self.recent.add(name, version, seconds if outcome == "ok" else None)
            self.statistics.request_done(model, outcome == "ok", seconds)
        if model is not None and outcome == "ok":  # refusals are quick and would flatter the latency
            self._duration.labels(name, version, protocol).observe(seconds)

    def shed(self, reason: str) -> None:
        self._shed.labels(reason).inc()

    def rejected(self, reason: str) -> None:
        self._rejected.labels(reason).inc()

    def cancelled(self, stage: str) -> None:
        self._cancelled.labels(stage).inc()

    def cache_hit(self) -> None:
        self._cache_hits.inc()

    def cache_missed(self) -> None:
        self._cache_misses.inc()

    def cache_changed(self, entries: int, used_bytes: int) -> None:
        self._cache_entries.set(entries)
        self._cache_bytes.set(used_bytes)

    def body_memory(self, held_bytes: int) -> None:
        self._body_memory.set(held_bytes)

    def shadow_paired(self, model: str, candidate: str, pairing: Pairing, slowdown: float | None) -> None:
        self._shadow_pairs.labels(model, candidate, pairing.outcome).inc()
        for outcome, count in pairing.objects.items():
            self._shadow_objects.labels(model, candidate, outcome).inc(count)
        self._shadow_disagreement.labels(model, candidate).observe(pairing.disagreement)
        if slowdown is not None:
            self._shadow_slowdown.labels(model, candidate).observe(slowdown)

    def shadow_dropped(self, reason: str) -> None:
        self._shadow_dropped.labels(reason).inc()

    def in_flight(self, count: int) -> None:
        self.in_flight_now = count
        self._in_flight.set(count)

    def model_loaded(self, model: ModelId, engine: str, precision: str, seconds: float) -> None:
        self._model_info.labels(model.name, model.version, model.digest, engine, precision).set(1)
        self._load.labels(model.name).set(seconds)

    def model_unloaded(self, model: ModelId, engine: str, precision: str) -> None:
        self._model_info.remove(model.name, model.version, model.digest, engine, precision)

    def gpu_read(self, readings: list[GpuReading]) -> None:
        for reading in readings:
            for field, gauge in self._gpu.items():
                gauge.labels(str(reading.index)).set(getattr(reading, field))

    def of_model(self, model: ModelId) -> "ModelMetrics":
        return ModelMetrics(self, model)


class ModelMetrics:
    """What one model's batcher and path report."""

    def __init__(self, metrics: Metrics, model: ModelId) -> None:
        self._metrics, self._model = metrics, model
        self._batch_size = metrics._batch_size.labels(model.name)
        self._padding = metrics._padding.labels(model.name)
        self._queue_depth = metrics._queue_depth.labels(model.name)
        self._queued_work = metrics._queued_work.labels(model.name)

    def batch_ran(self, size: int, padding_ratio: float, seconds: float) -> None:
        self._metrics.statistics.batch_ran(self._model.name, self._model.version, size, seconds)
        self._batch_size.observe(size)
        self._padding.observe(padding_ratio)

    def cancelled(self, stage: str) -> None:
        self._metrics.cancelled(stage)

    def queue_changed(self, depth: int, work_s: float) -> None:
        self._queue_depth.set(depth)
        self._queued_work.set(work_s)
