"""What a part is told, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure as Plot

from loadtests.tables import Table


@dataclass(frozen=True, slots=True)
class Plan:
    """How thoroughly to measure."""

    rounds: int = 5
    """How often things compared take turns; ratios are the median over rounds."""
    seconds: float = 6.0
    """About how long one run of one load takes."""
    clients: int = 32
    max_batch_size: int = 8
    engine_delay_ms: float = 20.0
    """Of the fake engine, for each batch whatever its size."""
    seed: int = 0

    def service(self, **more: object) -> dict[str, object]:
        """Settings of a service on the fake engine."""
        fake = {"engine": "fake", "fake_engine_delay_ms": self.engine_delay_ms, "max_batch_size": self.max_batch_size}
        return fake | more

    @property
    def engine_rate_per_s(self) -> float:
        """What the engine could do if every batch were full and nothing else took time."""
        return self.max_batch_size / self.engine_delay_ms * 1e3


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, and where it should lie if that was ever promised."""

    name: str
    value: float | None
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

    @property
    def is_met(self) -> bool | None:
        """None where there is no target. What could not be measured is missed."""
        if self.at_least is None and self.at_most is None:
            return None
        if self.value is None:
            return False
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def verdict(self) -> str:
        return {None: "", True: "met", False: "missed"}[self.is_met]


@dataclass(frozen=True, slots=True)
class Result:
    """What a part found."""

    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    plots: Mapping[str, Plot] = field(default_factory=dict)
    """By file name, without ending."""

    def table(self, title: str) -> Table:
        rows = tuple((f.name, _shown(f.value), f.unit, f.target, f.verdict) for f in self.figures)
        return Table(title, ("figure", "value", "unit", "target", ""), rows)


def _shown(value: float | None) -> str:
    return "never" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
