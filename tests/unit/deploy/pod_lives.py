"""Pods minute by minute, as the series Prometheus would have of them: everything that any alert reads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MINUTES = 360

Values = list[float | None]
Series = dict[str, Values]
"""By name with labels; a number for each minute, None where there is none."""


@dataclass(frozen=True)
class Pod:
    """Requests, failures and slow answers are counts in each minute; failures and slow ones are among the requests."""

    name: str
    version: str
    requests: Sequence[int]
    failures: Mapping[int, int]
    slow: Mapping[int, int]
    there: range = range(MINUTES + 1)
    unseen: Sequence[int] = ()
    """Minutes in which a scrape fails."""
    restarts: Sequence[int] = ()
    """Minutes in which the process begins anew."""

    @property
    def labels(self) -> str:
        return f'namespace="vision", job="rcnn", instance="{self.name}", pod="{self.name}"'

    def is_seen(self, minute: int) -> bool:
        return minute in self.there and minute not in self.unseen

    def began(self, minute: int) -> int:
        """When the process was started that runs in that minute."""
        return max((restart for restart in self.restarts if restart <= minute), default=self.there.start)

    def series(self) -> Series:
        minutes = range(MINUTES + 1)
        seen = {name: [of(m) if self.is_seen(m) else None for m in minutes] for name, of in self._of_the_process()}
        container = f'namespace="vision", pod="{self.name}", container="rcnn"'
        restarts = [float(sum(restart <= m for restart in self.restarts)) for m in minutes]
        outside = {
            f"up{{{self.labels}}}": [float(self.is_seen(m)) for m in minutes],
            f"kube_pod_container_status_restarts_total{{{container}}}": restarts,
            f'kube_pod_container_status_last_terminated_reason{{{container}, reason="Error"}}': [
                float(restart > 0) for restart in restarts
            ],
        }
        there: Series = {name: [v if m in self.there else None for m, v in zip(minutes, values, strict=True)]
                         for name, values in outside.items()}  # fmt: skip
        return seen | there

    def _of_the_process(self) -> Iterator[tuple[str, Callable[[int], float]]]:
        yield f"process_start_time_seconds{{{self.labels}}}", lambda m: 60.0 * self.began(m)
        for name, value in self._gauges().items():
            yield name, lambda _, value=value: value
        for name, counts in self._counts().items():
            yield name, lambda m, counts=counts: float(sum(counts[self.began(m) : m + 1]))

    def _gauges(self) -> dict[str, float]:
        model, card = f'{self.labels}, model="nuclei"', f'{self.labels}, gpu="0"'
        return {
            f'rcnn_model_info{{{model}, version="{self.version}"}}': 1,
            f"rcnn_queued_work_seconds{{{model}}}": 0.05,
            f'rcnn_drift_psi{{{model}, signal="brightness"}}': 0.08,
            f"rcnn_drift_samples{{{model}}}": 800,
            f"rcnn_gpu_memory_total_bytes{{{card}}}": 80e9,
            f"rcnn_gpu_memory_used_bytes{{{card}}}": 60e9,
            f"rcnn_gpu_temperature_celsius{{{card}}}": 70,
        }

    def _counts(self) -> dict[str, list[float]]:
        """In each minute; of an image there are seven objects, and one image in ten is answered by a candidate too."""
        failed = [float(self.failures.get(m, 0)) for m in range(MINUTES + 1)]
        answered = [r - f for r, f in zip(self.requests, failed, strict=True)]
        quick = [a - self.slow.get(m, 0) for m, a in enumerate(answered)]
        model = f'{self.labels}, model="nuclei"'
        return {
            f'rcnn_requests_total{{{model}, outcome="ok"}}': answered,
            f'rcnn_requests_total{{{model}, outcome="overloaded"}}': failed,
            f'rcnn_shed_total{{{self.labels}, reason="overloaded"}}': failed,
            f"rcnn_request_duration_seconds_count{{{model}}}": answered,
            **{f'rcnn_request_duration_seconds_bucket{{{model}, le="{le}"}}': quick for le in (0.08, 0.2, 0.25)},
            f"rcnn_detections_per_image_count{{{model}}}": answered,
            f"rcnn_detections_per_image_sum{{{model}}}": [7 * a for a in answered],
            f'rcnn_detections_per_image_bucket{{{model}, le="0.0"}}': [a / 20 for a in answered],
            f"rcnn_detection_score_count{{{model}}}": [7 * a for a in answered],
            f"rcnn_detection_score_sum{{{model}}}": [6 * a for a in answered],
            f'rcnn_shadow_pairs_total{{{model}, candidate="v2", outcome="agree"}}': [a / 10 for a in answered],
            f'rcnn_shadow_dropped_total{{{self.labels}, reason="failed"}}': failed,
        }


def judge(asked: range) -> Series:
    """A judge that is asked twice a minute, and for the first three has too few pairs to tell."""
    labels, minutes = 'namespace="vision", job="rcnn-judge", instance="j", pod="j"', range(MINUTES + 1)
    given = [2.0 * len([m for m in asked if m <= minute]) for minute in minutes]
    return {
        f"up{{{labels}}}": [1.0] * len(minutes),
        f'rcnn_gate_verdicts_total{{{labels}, decision="undecided"}}': list(given),
        f"rcnn_gate_unfit_verdicts_total{{{labels}}}": [min(count, 6) for count in given],
        f"rcnn_gate_last_verdict_timestamp_seconds{{{labels}}}": [60.0 * min(m, asked.stop) for m in minutes],
    }


def certificates() -> Series:
    """Good for sixty days from the beginning."""
    names = ("certmanager_certificate_expiration_timestamp_seconds", "probe_ssl_earliest_cert_expiry")
    return {f'{name}{{namespace="vision", name="tls"}}': [60 * 86400.0] * (MINUTES + 1) for name in names}


def notation(values: Values) -> str:
    """As promtool reads it; the first minute without a number is marked stale, as Prometheus does."""
    written = []
    for before, value in zip([None, *values], values, strict=False):
        written.append("_" if value is None and before is None else "stale" if value is None else f"{value:g}")
    return " ".join(written)
