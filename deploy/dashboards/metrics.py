"""
The metrics of the service and of the judge, as far as graphs are drawn from them: a query can only be built from a name
that is here.

Names, kinds and labels are their contract; those with a colon are recorded by the rules of
deploy/alerts. Beside the labels below, Prometheus adds `namespace` and `instance`
when it scrapes a pod.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family by its base name and the labels the service puts on it."""

    name: str
    labels: tuple[str, ...] = ()


class Counter(Metric):
    """Only ever grows; read it as a rate."""

    __slots__ = ()


class Gauge(Metric):
    """Holds as of now; read it as it is."""

    __slots__ = ()


class Histogram(Metric):
    """Exposed as _bucket, _sum and _count; read it as quantiles or as a mean of rates, never as a lifetime mean."""

    __slots__ = ()


REQUESTS = Counter("rcnn_requests_total", ("model", "version", "protocol", "outcome"))
REQUEST_DURATION = Histogram("rcnn_request_duration_seconds", ("model", "version", "protocol"))
STAGE_DURATION = Histogram("rcnn_stage_duration_seconds", ("model", "stage"))
IN_FLIGHT = Gauge("rcnn_in_flight_requests")
QUEUE_DEPTH = Gauge("rcnn_queue_depth", ("model",))
QUEUED_WORK = Gauge("rcnn_queued_work_seconds", ("model",))
BATCH_SIZE = Histogram("rcnn_batch_size", ("model",))
BATCH_PADDING = Histogram("rcnn_batch_padding_ratio", ("model",))
SHED = Counter("rcnn_shed_total", ("reason",))
REJECTED_INPUTS = Counter("rcnn_rejected_inputs_total", ("reason",))
CANCELLED = Counter("rcnn_cancelled_total", ("stage",))
CACHE_HITS = Counter("rcnn_response_cache_hits_total")
CACHE_MISSES = Counter("rcnn_response_cache_misses_total")
DETECTIONS = Counter("rcnn_detections_total", ("model", "label"))
DETECTION_SCORE = Histogram("rcnn_detection_score", ("model",))
DRIFT_PSI = Gauge("rcnn_drift_psi", ("model", "signal"))
DRIFT_SAMPLES = Gauge("rcnn_drift_samples", ("model",))
SHADOW_PAIRS = Counter("rcnn_shadow_pairs_total", ("model", "candidate", "outcome"))
SHADOW_DROPPED = Counter("rcnn_shadow_dropped_total", ("reason",))
SAMPLES = Counter("rcnn_samples_total", ("reason",))
SAMPLES_DROPPED = Counter("rcnn_samples_dropped_total", ("reason",))
GATE_DECISION = Gauge("rcnn_gate_decision", ("decision",))
GATE_PAIRS = Gauge("rcnn_gate_pairs")
GATE_VERDICTS = Counter("rcnn_gate_verdicts_total", ("decision",))
DETECTIONS_PER_IMAGE = Histogram("rcnn_detections_per_image", ("model",))
MODEL_INFO = Gauge("rcnn_model_info", ("model", "version", "digest", "engine", "precision"))
GPU_UTILIZATION = Gauge("rcnn_gpu_utilization_ratio", ("gpu",))
GPU_MEMORY_USED = Gauge("rcnn_gpu_memory_used_bytes", ("gpu",))
GPU_MEMORY_TOTAL = Gauge("rcnn_gpu_memory_total_bytes", ("gpu",))
GPU_TEMPERATURE = Gauge("rcnn_gpu_temperature_celsius", ("gpu",))
GPU_POWER = Gauge("rcnn_gpu_power_watts", ("gpu",))

ALERTS = Gauge("ALERTS", ("alertname", "severity", "alertstate"))
"""Prometheus' own: 1 for each alert that is pending or firing."""
BUDGET = Gauge("rcnn:slo_budget:ratio", ("slo",))
BUDGET_LEFT = Gauge("rcnn:slo_budget_left:ratio", ("slo",))
BAD_IN_AN_HOUR = Gauge("rcnn:slo_bad:ratio_rate1h", ("slo",))
BAD_IN_A_MONTH = Gauge("rcnn:slo_bad:ratio_rate30d", ("slo",))
MEAN_DETECTIONS = Gauge("rcnn:detections_per_image:mean_rate1h", ("model",))
MEAN_SCORE = Gauge("rcnn:detection_score:mean_rate1h", ("model",))
EMPTY_IMAGES = Gauge("rcnn:empty_images:ratio_rate1h", ("model",))
