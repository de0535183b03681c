"""
As much of Grafana's dashboard JSON as is used here, typed, with what we insist on made mandatory: every panel has a
unit and says which question it answers.

Panels are laid out left to right in rows, in the order given, on Grafana's grid of 24 columns.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

GRID_COLUMNS = 24
SCHEMA_VERSION = 39
"""Of Grafana 11; later versions migrate it when they load it."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, object]


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


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and how its series are called in the legend ({{label}} stands for a label's value)."""

    expression: str
    legend: str


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


@dataclass(frozen=True, slots=True)
class Table(Panel):
    """One row per series, one column per label in the order given, and the value last."""

    columns: tuple[str, ...] = ()
    value_title: str = "value"


@dataclass(frozen=True, slots=True)
class Heatmap(Panel):
    """Where observations lie, bucket by bucket, over time: one query, by le."""


@dataclass(frozen=True, slots=True)
class Section:
    """A titled row of the dashboard and the panels under it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A drop-down at the top. It starts at All, which also matches series that lack the label."""

    name: str
    label: str
    values_of: str
    """A Grafana label_values() query."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number typed in at the top."""

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


def to_text(dashboard: Dashboard) -> str:
    """The file's content: the same for the same dashboard, byte for byte."""
    return json.dumps(to_json(dashboard), indent=2) + "\n"


def to_json(dashboard: Dashboard) -> Json:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["rcnn"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,  # it is generated: what is edited in Grafana would be lost at the next release
        "graphTooltip": 1,  # one cross-hair through all panels
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [_to_the_others()],
        "templating": {"list": [_datasource_choice(), *(_choice(choice) for choice in dashboard.choices)]},
        "panels": _laid_out(dashboard.sections),
    }


def _datasource_choice() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _to_the_others() -> Json:
    shared: Json = {"keepTime": True, "includeVars": True, "targetBlank": False}
    return {"type": "dashboards", "tags": ["rcnn"], "asDropdown": False, "title": "rcnn"} | shared


def _choice(choice: Choice | Figure) -> Json:
    if isinstance(choice, Figure):
        return {"name": choice.name, "label": choice.label, "type": "textbox", "query": choice.default}
    return {
        "name": choice.name,
        "label": choice.label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": choice.values_of,
        "query": {"query": choice.values_of, "refId": choice.name},
        "refresh": 2,  # when the time range changes, so that models that came and went can be chosen
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _laid_out(sections: Sequence[Section]) -> list[Json]:
    """Sections from top to bottom; within one, panels fill a line and wrap when it is full."""
    placed: list[Json] = []
    top = 0
    for section in sections:
        placed.append(_heading(section, len(placed) + 1, top))
        left, line_top, line_height = 0, top + 1, 0
        for panel in section.panels:
            if left + panel.width > GRID_COLUMNS:
                left, line_top, line_height = 0, line_top + line_height, 0
            placed.append(_panel(panel, len(placed) + 1, left, line_top))
            left, line_height = left + panel.width, max(line_height, panel.height)
        top = line_top + line_height
    return placed


def _heading(section: Section, panel_id: int, top: int) -> Json:
    position = {"h": 1, "w": GRID_COLUMNS, "x": 0, "y": top}
    heading: Json = {"id": panel_id, "type": "row", "title": section.title, "gridPos": position}
    return heading | {"collapsed": False, "panels": []}


def _panel(panel: Panel, panel_id: int, left: int, top: int) -> Json:
    kind, defaults, options = _look(panel)
    drawn: Json = {
        "id": panel_id,
        "type": kind,
        "title": panel.title,
        "description": f"{panel.question}\n\n{panel.reading}",
        "datasource": DATASOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": left, "y": top},
        "fieldConfig": {"defaults": {"unit": str(panel.unit), "min": 0, **defaults}, "overrides": []},
        "options": options,
        "targets": [_target(panel, query, index) for index, query in enumerate(panel.queries)],
    }
    return drawn | {"transformations": _columns(panel)} if isinstance(panel, Table) else drawn


def _look(panel: Panel) -> tuple[str, Json, Json]:
    """Grafana's name of the kind, its field defaults and its options."""
    match panel:
        case TimeSeries():
            return "timeseries", _lines(panel), _legend()
        case Stat():
            options: Json = {"colorMode": "none", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
            return "stat", {}, options
        case Heatmap():
            return "heatmap", {}, {"calculate": False, "yAxis": {"unit": str(panel.unit)}, "color": {"scheme": "Blues"}}
        case Table():
            return "table", {}, {"showHeader": True, "cellHeight": "sm"}
        case _:
            raise TypeError(f"no way to draw a {type(panel).__name__}")


def _lines(panel: TimeSeries) -> Json:
    fill = 30 if panel.is_stacked else 5
    custom: Json = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never"}
    defaults: Json = {"custom": custom | {"stacking": {"mode": "normal" if panel.is_stacked else "none"}}}
    if panel.highest is not None:
        defaults["max"] = panel.highest
    if panel.when_empty:
        defaults["noValue"] = panel.when_empty
    return defaults


def _legend() -> Json:
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _target(panel: Panel, query: Query, index: int) -> Json:
    target: Json = {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "expr": query.expression,
        "legendFormat": query.legend,
    }
    match panel:
        case Table():
            return target | {"instant": True, "format": "table"}
        case Heatmap():
            return target | {"range": True, "format": "heatmap"}
        case _:
            return target | {"range": True}


def _columns(panel: Table) -> list[Json]:
    order = {name: index for index, name in enumerate((*panel.columns, "Value"))}
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": {"Value": panel.value_title}}
    return [{"id": "organize", "options": organize}]
