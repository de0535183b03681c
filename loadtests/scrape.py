"""
Reads the service's own counters before and after a run, to say how it batched and where it spent its time.

One address is one process: behind a load balancer over several pods the two scrapes may meet different pods, so point
this at a single one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

SCRAPE_TIMEOUT_S = 5.0
STAGE_SECONDS = "rcnn_stage_duration_seconds"

Series = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
"""(sample name, its labels in order of name) -> value, as of one scrape."""


class ScrapeFailed(Exception):
    """The metrics could not be read; the run itself is not affected."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests travelled together between two scrapes; None where no batch ran."""

    batches: int
    mean_batch_size: float | None
    mean_padding_ratio: float | None


@dataclass(frozen=True, slots=True)
class ServerSide:
    """What the service itself counted between two scrapes."""

    batching: Batching
    mean_stage_ms: Mapping[str, float]
    """Of every request that got through the stage, whoever sent it."""
    shed: Mapping[str, float]
    """Requests refused for want of capacity, by reason."""


def scrape(metrics_url: str) -> Series:
    """Fetch the metrics at an address. Raises ScrapeFailed."""
    try:
        response = httpx.get(metrics_url, timeout=SCRAPE_TIMEOUT_S, trust_env=False).raise_for_status()
        return parse(response.text)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ScrapeFailed(f"cannot read metrics at {metrics_url}: {error}") from error


def parse(exposition: str) -> Series:
    """The Prometheus text format -> every sample. Raises ValueError for what is not in that format."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def total(series: Series, name: str) -> float:
    """A sample's value summed over all its labels."""
    return sum(value for (sample, _), value in series.items() if sample == name)


def between(before: Series, after: Series) -> ServerSide:
    """What was counted from one scrape to the next."""
    gained = {key: value - before.get(key, 0.0) for key, value in after.items()}
    batching = Batching(
        batches=round(total(gained, "rcnn_batch_size_count")),
        mean_batch_size=_mean(gained, "rcnn_batch_size"),
        mean_padding_ratio=_mean(gained, "rcnn_batch_padding_ratio"),
    )
    seconds, counts = (
        _by_label(gained, f"{STAGE_SECONDS}_sum", "stage"),
        _by_label(gained, f"{STAGE_SECONDS}_count", "stage"),
    )
    mean_stage_ms = {stage: seconds[stage] / count * 1e3 for stage, count in counts.items() if count > 0}
    shed = {reason: count for reason, count in _by_label(gained, "rcnn_shed_total", "reason").items() if count > 0}
    return ServerSide(batching, mean_stage_ms, shed)


def _by_label(series: Series, name: str, label: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for (sample, labels), value in series.items():
        if sample == name:
            key = dict(labels).get(label, "")
            totals[key] = totals.get(key, 0.0) + value
    return totals


def _mean(series: Series, histogram: str) -> float | None:
    observations = total(series, f"{histogram}_count")
    return total(series, f"{histogram}_sum") / observations if observations > 0 else None
