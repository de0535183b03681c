"""Spreads of values from HDR histograms: three significant digits at any size, and mergeable between runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

COUNTS_PER_UNIT = 1000
"""Values are recorded in thousandths: milliseconds as whole microseconds."""

LARGEST_VALUE = 3_600_000
"""An hour in milliseconds; what is larger counts as this."""

SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The spread of some values, in the unit of those values; the field that holds it names the unit."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """None of nothing: an empty run has no latency, not a latency of zero. The largest value is exact."""
    if not values:
        return None
    histogram = _recorded(values)
    p50, p95, p99 = (histogram.get_value_at_percentile(share) / COUNTS_PER_UNIT for share in (50, 95, 99))
    return Percentiles(len(values), p50, p95, p99, max(values))


def encoded(values: Sequence[float]) -> str:
    """The histogram in HdrHistogram's own compressed form (V2, base64), in thousandths of the values' unit."""
    text: bytes = _recorded(values).encode()
    return text.decode("ascii")


def merged(histograms: Iterable[str]) -> Percentiles | None:
    """The spread over several runs, from their encoded histograms."""
    whole = _empty()
    for histogram in histograms:
        whole.decode_and_add(histogram.encode("ascii"))
    count = int(whole.get_total_count())
    if not count:
        return None
    p50, p95, p99 = (whole.get_value_at_percentile(share) / COUNTS_PER_UNIT for share in (50, 95, 99))
    return Percentiles(count, p50, p95, p99, whole.get_max_value() / COUNTS_PER_UNIT)


def _recorded(values: Iterable[float]) -> HdrHistogram:
    histogram = _empty()
    for value in values:
        histogram.record_value(round(min(max(value, 0.0), LARGEST_VALUE) * COUNTS_PER_UNIT))
    return histogram


def _empty() -> HdrHistogram:
    return HdrHistogram(1, LARGEST_VALUE * COUNTS_PER_UNIT, SIGNIFICANT_DIGITS)
