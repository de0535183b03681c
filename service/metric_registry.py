"""A registry that remembers what was declared in it. Of service, it and metrics.py alone import prometheus_client."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, make_asgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True)
class Declared:
    """One metric family as it was declared. name is the one queries use; buckets only where it is a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...]


class MetricRegistry:
    """Metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry, self.declared = CollectorRegistry(), list[Declared]()

    def asgi_app(self) -> Callable[..., Any]:
        """Answers scrapes, in OpenMetrics where the scraper asks for it."""
        return make_asgi_app(self.registry)

    def as_text(self) -> bytes:
        """What a scrape reads, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        self.declared.append(Declared(f"{name}_total", "counter", help, labels, ()))
        return Counter(name, help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        self.declared.append(Declared(name, "gauge", help, labels, ()))
        return Gauge(name, help, labels, registry=self.registry)

    def _gauge_read(self, name: str, help: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """A gauge whose values, by label, are read at each scrape: nothing that happens between has to tell it."""
        self.declared.append(Declared(name, "gauge", help, (label,), ()))
        self.registry.register(_ReadGauge(name, help, label, read))

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self.declared.append(Declared(name, "histogram", help, labels, buckets))
        return Histogram(name, help, labels, buckets=buckets, registry=self.registry)


class _ReadGauge(Collector):
    def __init__(self, name: str, help: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        self._name, self._help, self._label, self._read = name, help, label, read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Its name, for scrapes that ask for it, and so that nobody else takes it."""
        yield GaugeMetricFamily(self._name, self._help, labels=[self._label])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        (family,) = self.describe()
        for value, number in self._read().items():
            family.add_metric([value], number)
        yield family
