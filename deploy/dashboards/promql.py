"""
PromQL from metrics: the few shapes of query that are right for this service.

Every query is narrowed to the dashboard's namespace, and to its model where the metric has one. Rates come first and
sums after, so that a restarted pod does not show as a negative rate. Labels to keep apart are named by the caller and
must be on the metric.
"""

from deploy.dashboards.metrics import BUDGET, Counter, Gauge, Histogram, Metric

SCRAPE_LABELS = ("namespace", "instance")
"""Put on every series by Prometheus, not by the service."""


def rate(counter: Counter, *by: str) -> str:
    """Events per second, summed over pods."""
    return _sum(_rate(counter, counter.name), counter, by)


def quantile(share: float, histogram: Histogram, *by: str) -> str:
    """The value that `share` of the observations stay below, over all pods: buckets are summed before the quantile."""
    summed = f"sum by ({', '.join(('le', *_known(histogram, by)))}) ({_rate(histogram, f'{histogram.name}_bucket')})"
    return f"histogram_quantile({share:g}, {summed})"


def mean(histogram: Histogram, *by: str) -> str:
    """The mean of what was observed lately: a ratio of rates, so quiet pods and old history weigh nothing."""
    return f"{total(histogram, *by)} / {observations(histogram, *by)}"


def total(histogram: Histogram, *by: str) -> str:
    """
    What was observed, per second. Of a duration this is seconds per second: by Little's law the number of requests
    that are, on average, in that stage at any moment.
    """
    return _sum(_rate(histogram, f"{histogram.name}_sum"), histogram, by)


def now(gauge: Gauge, *by: str) -> str:
    """The present value, summed over pods."""
    return _sum(_selected(gauge, gauge.name), gauge, by)


def highest(gauge: Gauge, *by: str) -> str:
    """The present value in whichever pod has most of it."""
    return _aggregate("max", _selected(gauge, gauge.name), gauge, by)


def lowest(gauge: Gauge, *by: str) -> str:
    """The present value of whichever has least of it."""
    return _aggregate("min", _selected(gauge, gauge.name), gauge, by)


def observations(histogram: Histogram, *by: str) -> str:
    """How many observations a second, summed over pods."""
    return _sum(_rate(histogram, f"{histogram.name}_count"), histogram, by)


def buckets(histogram: Histogram, **matching: str) -> str:
    """Observations a second by bucket, for a heatmap; matching narrows to one value of a label."""
    _known(histogram, tuple(matching))
    matchers = "".join(f', {label}="{value}"' for label, value in matching.items())
    selected = _selected(histogram, f"{histogram.name}_bucket")[:-1] + matchers + "}"
    return f"sum by (le) (rate({selected}[$__rate_interval]))"


def count(gauge: Gauge, *by: str) -> str:
    """How many series there are: of a per-pod info metric, how many pods."""
    return _aggregate("count", _selected(gauge, gauge.name), gauge, by)


def _selected(metric: Metric, series: str) -> str:
    if metric is BUDGET:  # a constant of the rules, in no namespace
        return series
    matchers = ['namespace=~"$namespace"']
    if "model" in metric.labels:
        matchers.append('model=~"$model"')
    return f"{series}{{{', '.join(matchers)}}}"


def _rate(metric: Metric, series: str) -> str:
    return f"rate({_selected(metric, series)}[$__rate_interval])"


def _sum(operand: str, metric: Metric, by: tuple[str, ...]) -> str:
    return _aggregate("sum", operand, metric, by)


def _aggregate(operator: str, operand: str, metric: Metric, by: tuple[str, ...]) -> str:
    grouping = f" by ({', '.join(_known(metric, by))}) " if by else ""
    return f"{operator}{grouping}({operand})"


def _known(metric: Metric, by: tuple[str, ...]) -> tuple[str, ...]:
    unknown = set(by) - set(metric.labels) - set(SCRAPE_LABELS)
    if unknown:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}; it has {', '.join(metric.labels)}")
    return by
