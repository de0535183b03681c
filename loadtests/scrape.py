"""
Reads the service's own counters before and after a run, to say how it batched.

One address is one process: behind a load balancer over several pods the two scrapes may meet different pods, so point
this at a single one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

SCRAPE_TIMEOUT_S = 5.0

Totals = Mapping[str, float]
"""Sample name -> value summed over every label set, as of one scrape."""


class ScrapeFailed(Exception):
    """The metrics could not be read; the run itself is not affected."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests travelled together between two scrapes; None where no batch ran."""

    batches: int
    mean_batch_size: float | None
    mean_padding_ratio: float | None


def scrape(metrics_url: str) -> Totals:
    """Fetch and total the metrics at an address. Raises ScrapeFailed."""
    try:
        response = httpx.get(metrics_url, timeout=SCRAPE_TIMEOUT_S, trust_env=False).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ScrapeFailed(f"cannot read metrics at {metrics_url}: {error}") from error
    return total(response.text)


def total(exposition: str) -> Totals:
    """The Prometheus text format -> totals by sample name. Comments and lines that are not samples are skipped."""
    totals: dict[str, float] = {}
    for line in exposition.splitlines():
        if not line or line.startswith("#"):
            continue
        name, value = _read_line(line)
        if value is not None:
            totals[name] = totals.get(name, 0.0) + value
    return totals


def batching_between(before: Totals, after: Totals) -> Batching:
    return Batching(
        batches=round(_gain(before, after, "rcnn_batch_size_count")),
        mean_batch_size=_mean_between(before, after, "rcnn_batch_size"),
        mean_padding_ratio=_mean_between(before, after, "rcnn_batch_padding_ratio"),
    )


def _mean_between(before: Totals, after: Totals, histogram: str) -> float | None:
    observations = _gain(before, after, f"{histogram}_count")
    return _gain(before, after, f"{histogram}_sum") / observations if observations > 0 else None


def _gain(before: Totals, after: Totals, name: str) -> float:
    return after.get(name, 0.0) - before.get(name, 0.0)


def _read_line(line: str) -> tuple[str, float | None]:
    """One sample line, `name value` or `name{labels} value`; labels may hold spaces, so the value follows the brace."""
    name, has_labels, _ = line.partition("{")
    fields = line.rpartition("}")[2].split() if has_labels else line.split()[1:]
    try:
        return name.split()[0], float(fields[0])
    except (IndexError, ValueError):
        return line, None
