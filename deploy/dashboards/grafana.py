"""
As much of Grafana's dashboards as is used here, typed, with what we insist on made mandatory: every panel has a
unit and says which question it answers.
"""

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Grafana's names for what an axis measures."""

    REQUESTS_PER_SECOND = "reqps"
    COUNT = "short"
    SECONDS = "s"
    SHARE = "percentunit"
    BYTES = "bytes"
    CELSIUS = "celsius"
    WATTS = "watt"
    MONEY = "currencyUSD"


class Colour(StrEnum):
    """Grafana's names for how bad a value is."""

    GOOD = "green"
    WATCH = "yellow"
    ACT = "orange"
    BROKEN = "red"


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and how its series are called in the legend ({{label}} stands for a label's value)."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Link:
    """Where to go from a panel."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Panel:
    """What all kinds have in common. Width and height are in grid cells; 24 wide is the whole screen."""

    title: str
    question: str
    """The question the graph answers; it ends with a question mark."""
    reading: str
    """What to make of the answer: what is normal, and where to look next."""
    unit: Unit
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        if not self.question.endswith("?"):
            raise ValueError(f"panel {self.title!r} must say which question it answers, but says {self.question!r}")
        if not self.queries:
            raise ValueError(f"panel {self.title!r} has no query")


@dataclass(frozen=True, slots=True)
class TimeSeries(Panel):
    """Lines over time; stacked where the sum of the series means something."""

    is_stacked: bool = False
    highest: float | None = None
    """Where the axis ends, for a measure that has an end (a share ends at 1)."""
    when_empty: str = ""
    """What to say when there are no series, where that is a normal state."""


@dataclass(frozen=True, slots=True)
class Stat(Panel):
    """One large number with its recent course behind it."""

    width: int = 6
    height: int = 4
    colours: tuple[tuple[float, Colour], ...] = ()
    """The colour of a number from each value on, ascending; one below the first has the first's. Empty: plain."""


@dataclass(frozen=True, slots=True)
class Table(Panel):
    """One row per series, one column per label in the order given, and the value last."""

    columns: tuple[str, ...] = ()
    value_title: str = "value"


@dataclass(frozen=True, slots=True)
class Heatmap(Panel):
    """Where observations lie, bucket by bucket, over time: one query, by le."""


@dataclass(frozen=True, slots=True)
class Text:
    """Markdown to read."""

    title: str
    markdown: str
    width: int = 12
    height: int = 16


@dataclass(frozen=True, slots=True)
class Section:
    """A titled row of the dashboard and the panels under it."""

    title: str
    panels: tuple[Panel | Text, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A drop-down at the top. It starts at All, which also matches series that lack the label."""

    name: str
    label: str
    values_of: str
    """A Grafana label_values() query."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something typed in at the top: a number, an address."""

    name: str
    label: str
    default: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A whole dashboard; its uid is also its file name and its address."""

    uid: str
    title: str
    description: str
    choices: tuple[Choice | Figure, ...]
    sections: tuple[Section, ...]
