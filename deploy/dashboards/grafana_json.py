"""
Dashboards as Grafana's JSON.

Panels are laid out left to right in rows, in the order given, on Grafana's grid of 24 columns.
"""

import json
from collections.abc import Sequence

from deploy.dashboards.grafana import (
    Choice,
    Dashboard,
    Figure,
    Heatmap,
    Panel,
    Query,
    Section,
    Stat,
    Table,
    Text,
    TimeSeries,
)

GRID_COLUMNS = 24
SCHEMA_VERSION = 39
"""Of Grafana 11; later versions migrate it when they load it."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, object]


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
            place = len(placed) + 1, left, line_top
            placed.append(_text(panel, *place) if isinstance(panel, Text) else _panel(panel, *place))
            left, line_height = left + panel.width, max(line_height, panel.height)
        top = line_top + line_height
    return placed


def _heading(section: Section, panel_id: int, top: int) -> Json:
    position = {"h": 1, "w": GRID_COLUMNS, "x": 0, "y": top}
    heading: Json = {"id": panel_id, "type": "row", "title": section.title, "gridPos": position}
    return heading | {"collapsed": False, "panels": []}


def _text(text: Text, panel_id: int, left: int, top: int) -> Json:
    place = {"h": text.height, "w": text.width, "x": left, "y": top}
    options = {"mode": "markdown", "content": text.markdown}
    return {"id": panel_id, "type": "text", "title": text.title, "gridPos": place, "options": options}


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
        "links": [{"title": link.title, "url": link.url, "targetBlank": True} for link in panel.links],
        "targets": [_target(panel, query, index) for index, query in enumerate(panel.queries)],
    }
    return drawn | {"transformations": _columns(panel)} if isinstance(panel, Table) else drawn


def _look(panel: Panel) -> tuple[str, Json, Json]:
    """Grafana's name of the kind, its field defaults and its options."""
    match panel:
        case TimeSeries():
            return "timeseries", _lines(panel), _legend()
        case Stat():
            mode = "value" if panel.colours else "none"
            options: Json = {"colorMode": mode, "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
            return "stat", _thresholds(panel), options
        case Heatmap():
            return "heatmap", {}, {"calculate": False, "yAxis": {"unit": str(panel.unit)}, "color": {"scheme": "Blues"}}
        case Table():
            return "table", {}, {"showHeader": True, "cellHeight": "sm"}
        case _:
            raise TypeError(f"no way to draw a {type(panel).__name__}")


def _thresholds(panel: Stat) -> Json:
    if not panel.colours:
        return {}
    steps = [{"value": value if index else None, "color": str(hue)} for index, (value, hue) in enumerate(panel.colours)]
    return {"thresholds": {"mode": "absolute", "steps": steps}}


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
