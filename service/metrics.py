"""Every metric, declared once: unit and labels in sight."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.detections import Answer, ModelId
from service.drift import Reading
from service.gpu import GpuReading
from service.recent import RecentRequests
from service.shadow_metrics import ShadowMetrics
from service.statistics import Statistics
from service.tracing import Trace, current_trace
from service.triton_names import triton_samples

# An edge at every SLO threshold: p50 80 ms, p95 200 ms (Faster) and 250 ms (Mask).
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
_COUNTS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)

UNKNOWN_MODEL = "(unknown)"  # one label for whatever names callers make up; no model can be called so


@dataclass(frozen=True)
class Queue:
    """What waits in front of one served model: images, and predicted seconds of the engine's work."""

    model: str
    depth: int
    work_s: float


class Metrics(ShadowMetrics):
    """
    The process's metrics, in a registry of its own.

    triton_names: the statistics under Triton's names too. release: what the process's release is called, if anything.
    """

    def __init__(self, *, triton_names: bool = False, release: str = "") -> None:
        super().__init__()
        self.recent, self.in_flight_now, self._body_bytes_now = RecentRequests(), 0, 0
        self._queues: Callable[[], Iterable[Queue]] = tuple
        self.statistics = Statistics()
        self._declare_requests()
        self._declare_batches()
        self._declare_found()
        self._declare_shadow()
        self._declare_drift()
        self._declare_samples()
        self._declare_models()
        if release:
            self._release_info.labels(release).set(1)
        ProcessCollector(registry=self.registry)
        if triton_names:
            self.registry.register(_TritonNames(self.statistics))

    def _declare_requests(self) -> None:
        by_request = ("model", "version", "protocol")
        self._requests = self._counter("rcnn_requests", "Requests that ended, by outcome.", *by_request, "outcome")
        self._duration = self._histogram(
            "rcnn_request_duration_seconds", "Time from the first byte read to the answer.", _SECONDS, *by_request
        )
        self._stage = self._histogram(
            "rcnn_stage_duration_seconds", "Time spent by an image in each stage.", _STAGE_SECONDS, "model", "stage"
        )
        in_flight = self._gauge("rcnn_in_flight_requests", "Images inside.")
        in_flight.set_function(lambda: self.in_flight_now)
        body_memory = self._gauge("rcnn_body_memory_bytes", "Memory held by request bodies and their copies.")
        body_memory.set_function(lambda: self._body_bytes_now)
        self._shed = self._counter("rcnn_shed", "Requests refused for want of capacity.", "reason")
        self._rejected = self._counter("rcnn_rejected_inputs", "Requests refused for their content.", "reason")
        self._cancelled = self._counter("rcnn_cancelled", "Requests whose caller left or ran out of time.", "stage")
        self._cache_hits = self._counter("rcnn_response_cache_hits", "Answers given without running a model.")
        self._cache_misses = self._counter("rcnn_response_cache_misses", "Answers not kept, and computed.")
        self._cache_bytes = self._gauge("rcnn_response_cache_bytes", "Memory taken by answers kept.")
        self._cache_entries = self._gauge("rcnn_response_cache_entries", "Answers kept.")

    def _declare_batches(self) -> None:
        self._batch_size = self._histogram("rcnn_batch_size", "Images in a batch.", _BATCH, "model")
        self._padding = self._histogram(
            "rcnn_batch_padding_ratio", "Share of a batch's canvases that is padding.", _RATIOS, "model"
        )
        self._gauge_read(
            "rcnn_queue_depth",
            "Images waiting for a batch.",
            "model",
            lambda: self._by_model(lambda queue: queue.depth),
        )
        self._gauge_read(
            "rcnn_queued_work_seconds",
            "Seconds of engine work waiting: the autoscaling signal.",
            "model",
            lambda: self._by_model(lambda queue: queue.work_s),
        )

    def watch_queues(self, queues: Callable[[], Iterable[Queue]]) -> None:
        """queues: asked at each scrape for what waits in front of each served model; versions of a name are added."""
        self._queues = queues

    def _by_model(self, value: Callable[[Queue], float]) -> dict[str, float]:
        values: dict[str, float] = {}
        for queue in self._queues():
            values[queue.model] = values.get(queue.model, 0.0) + value(queue)
        return values

    def _declare_found(self) -> None:
        self._detections = self._counter("rcnn_detections", "Objects found.", "model", "label")
        self._score = self._histogram("rcnn_detection_score", "Scores of objects found.", _RATIOS, "model")
        self._per_image = self._histogram("rcnn_detections_per_image", "Objects found in an image.", _COUNTS, "model")

    def _declare_drift(self) -> None:
        by_signal = ("model", "signal")
        self._drift_psi = self._gauge(
            "rcnn_drift_psi", "Distance of a signal from the bundle's baseline, over the last images.", *by_signal
        )
        self._drift_kl = self._gauge("rcnn_drift_kl", "The same as Kullback-Leibler divergence, in nats.", *by_signal)
        self._drift_threshold = self._gauge(
            "rcnn_drift_threshold_psi", "What rcnn_drift_psi stays below by chance with so many images.", *by_signal
        )
        self._drift_samples = self._gauge("rcnn_drift_samples", "Images rcnn_drift_psi is of.", "model")
        self._source_psi = self._gauge(
            "rcnn_drift_source_psi", "As rcnn_drift_psi, of images from one source.", "model", "source", "signal"
        )
        self._source_samples = self._gauge(
            "rcnn_drift_source_samples", "Images rcnn_drift_source_psi is of.", "model", "source"
        )

    def _declare_samples(self) -> None:
        self._samples = self._counter("rcnn_samples", "Images and answers kept for review.", "reason")
        self._samples_dropped = self._counter(
            "rcnn_samples_dropped", "Images and answers worth a review that were not kept.", "reason"
        )
        self._samples_kept = self._gauge("rcnn_samples_kept", "Samples in the store, of all pods that share it.")
        self._samples_bytes = self._gauge("rcnn_samples_bytes", "What they take there.")

    def _declare_models(self) -> None:
        self._release_info = self._gauge("rcnn_release_info", "1 for the release this is, if it has a name.", "release")
        info = ("model", "version", "digest", "engine", "precision")
        self._model_info = self._gauge("rcnn_model_info", "1 for each model served.", *info)
        self._load = self._gauge("rcnn_model_load_duration_seconds", "Time to load and check a model.", "model")
        self._gpus = self._gauge("rcnn_gpus", "GPUs and MIG slices read; 0: none, or no driver, as the log says.")
        self._gpu = {
            field: self._gauge(f"rcnn_gpu_{field}", text, "gpu")
            for field, text in (
                ("utilization_ratio", "Share of time a kernel was running; absent where MIG is on."),
                ("memory_used_bytes", "Device memory in use, by whomever."),
                ("memory_total_bytes", "Device memory there is."),
                ("temperature_celsius", "Device temperature."),
                ("power_watts", "Power drawn."),
                ("process_memory_used_bytes", "Device memory in use by this process; absent where NVML hides it."),
            )
        }

    def answered(self, answer: Answer) -> None:
        self.statistics.answered(answer)
        model, found, exemplar = answer.model.name, answer.detections, _exemplar(current_trace.get())
        for stage, seconds in answer.timings.stages_s.items():
            self._stage.labels(model, stage).observe(seconds, exemplar)
        self._per_image.labels(model).observe(len(found))
        for label, count in Counter(found.labels).items():
            self._detections.labels(model, label).inc(count)
        observe_score = self._score.labels(model).observe
        for score in found.scores:
            observe_score(float(score))

    def request_done(
        self, model: ModelId | None, protocol: str, outcome: str, seconds: float, trace: Trace | None = None
    ) -> None:
        """outcome is ok or the error's stable code. Where the request named no model served here, model is None."""
        name, version = (model.name, model.version) if model else (UNKNOWN_MODEL, "")
        self._requests.labels(name, version, protocol, outcome).inc(exemplar=_exemplar(trace))
        if model is not None:
            self.recent.add(name, version, seconds if outcome == "ok" else None)
            self.statistics.request_done(model, outcome == "ok", seconds)
        if model is not None and outcome == "ok":  # refusals are quick and would flatter the latency
            self._duration.labels(name, version, protocol).observe(seconds, _exemplar(trace))

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
        self._body_bytes_now = held_bytes

    def sample_kept(self, reason: str) -> None:
        self._samples.labels(reason).inc()

    def sample_dropped(self, reason: str) -> None:
        self._samples_dropped.labels(reason).inc()

    def samples_changed(self, kept: int, used_bytes: int) -> None:
        self._samples_kept.set(kept)
        self._samples_bytes.set(used_bytes)

    def in_flight(self, count: int) -> None:
        self.in_flight_now = count

    def model_loaded(self, model: ModelId, engine: str, precision: str, seconds: float) -> None:
        self._model_info.labels(model.name, model.version, model.digest, engine, precision).set(1)
        self._load.labels(model.name).set(seconds)

    def model_unloaded(self, model: ModelId, engine: str, precision: str) -> None:
        self._model_info.remove(model.name, model.version, model.digest, engine, precision)

    def drift_read(self, model: str, source: str | None, images: int, readings: Mapping[str, Reading]) -> None:
        """source is None for all images together."""
        if source is not None:
            self._source_samples.labels(model, source).set(images)
            for signal, reading in readings.items():
                self._source_psi.labels(model, source, signal).set(reading.psi)
            return
        self._drift_samples.labels(model).set(images)
        for signal, reading in readings.items():
            self._drift_psi.labels(model, signal).set(reading.psi)
            self._drift_kl.labels(model, signal).set(reading.kl)
            self._drift_threshold.labels(model, signal).set(reading.threshold_psi)

    def gpu_read(self, readings: list[GpuReading]) -> None:
        """No readings: there is no GPU, or none that can be read."""
        self._gpus.set(len(readings))
        for field, gauge in self._gpu.items():
            gauge.clear()
            for reading in readings:
                if (value := getattr(reading, field)) is not None:
                    gauge.labels(reading.gpu).set(value)

    def of_model(self, model: ModelId) -> "ModelMetrics":
        return ModelMetrics(self, model)


class ModelMetrics:
    """What one model's batcher and path report."""

    def __init__(self, metrics: Metrics, model: ModelId) -> None:
        self._metrics, self._model = metrics, model
        self._batch_size = metrics._batch_size.labels(model.name)
        self._padding = metrics._padding.labels(model.name)

    def batch_ran(self, size: int, padding_ratio: float, seconds: float) -> None:
        self._metrics.statistics.batch_ran(self._model.name, self._model.version, size, seconds)
        self._batch_size.observe(size)
        self._padding.observe(padding_ratio)

    def cancelled(self, stage: str) -> None:
        self._metrics.cancelled(stage)


class _TritonNames(Collector):
    """Triton's own names lack the _total that Prometheus asks of a counter, hence untyped."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for sample in triton_samples(self._statistics.all()):
            family = families.setdefault(sample.name, Metric(sample.name, sample.help, "unknown"))
            family.add_sample(sample.name, dict(sample.labels), sample.value)
        yield from families.values()


def _exemplar(trace: Trace | None) -> dict[str, str] | None:
    """Only traces that somebody records can be looked up."""
    return {"trace_id": trace.trace_id} if trace and trace.sampled else None
