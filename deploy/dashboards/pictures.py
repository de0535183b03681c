"""
Pictures of the dashboards, from their JSON and what a running Prometheus answers, without Grafana.

    python -m deploy.dashboards.pictures --prometheus http://localhost:9090 --minutes 60 --out docs/dashboards

Panels stand where Grafana would put them, with their titles, units, legends and data; the drawing is matplotlib's.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from deploy.dashboards.expand import expand
from deploy.drill.prometheus import Prometheus, Series

_PAPER, _CARD, _INK, _FAINT, _GRID = "#111217", "#181b1f", "#ccccdc", "#8e8ea0", "#2c3235"
_HUES = {"green": "#73bf69", "yellow": "#f2cc0c", "orange": "#ff780a", "red": "#f2495c"}
_COLOURS = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#705da0",
    "#37872d",
    "#fade2a",
)
_CELL_WIDTH, _CELL_HEIGHT, _MARGIN = 0.62, 0.32, 0.1
"""Inches of a cell of Grafana's grid, and of the space around a panel."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, in Unix seconds, and how far apart the points are."""

    start_s: float
    end_s: float
    step_s: float
    rate_interval: str


def draw(dashboard: Json, prometheus: Prometheus, window: Window, out: Path) -> None:
    """One PNG of a whole dashboard, as tall as it is."""
    panels = dashboard["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * _CELL_WIDTH, (rows + 2) * _CELL_HEIGHT
    matplotlib.rcParams.update({"font.size": 7, "text.color": _INK, "axes.labelcolor": _INK})
    figure = Figure((width, height), facecolor=_PAPER, dpi=110)
    figure.text(0.008, 1 - 0.7 * _CELL_HEIGHT / height, dashboard["title"], fontsize=13, va="center", weight="bold")
    figure.text(
        0.992, 1 - 0.7 * _CELL_HEIGHT / height, _span(window), fontsize=8, va="center", ha="right", color=_FAINT
    )
    for panel in panels:
        place = panel["gridPos"]
        left, bottom = place["x"] * _CELL_WIDTH, height - (place["y"] + place["h"] + 1.5) * _CELL_HEIGHT
        box = (left, bottom, place["w"] * _CELL_WIDTH, place["h"] * _CELL_HEIGHT)
        if panel["type"] == "row":
            figure.text((left + 0.1) / width, (bottom + 0.1) / height, panel["title"], fontsize=9, weight="bold")
        else:
            _panel(figure, panel, box, prometheus, window)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, facecolor=_PAPER)


def draw_all(dashboards: Path, prometheus: Prometheus, window: Window, out: Path) -> list[Path]:
    """Every dashboard in a folder of JSON, each as a PNG of its name in out."""
    drawn = []
    for path in sorted(dashboards.glob("*.json")):
        drawn.append(out / f"{path.stem}.png")
        draw(json.loads(path.read_text("utf-8")), prometheus, window, drawn[-1])
    return drawn


def _span(window: Window) -> str:
    start, end = (datetime.fromtimestamp(at, UTC) for at in (window.start_s, window.end_s))
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"


def _panel(
    figure: Figure, panel: Json, box: tuple[float, float, float, float], prometheus: Prometheus, window: Window
) -> None:
    """box: left, bottom, width and height in inches."""
    size = figure.get_size_inches()
    left, bottom, width, height = box
    card = figure.add_axes(
        (
            (left + _MARGIN / 2) / size[0],
            (bottom + _MARGIN / 2) / size[1],
            (width - _MARGIN) / size[0],
            (height - _MARGIN) / size[1],
        )
    )
    card.set(facecolor=_CARD, xticks=[], yticks=[])
    card.spines[:].set_color(_GRID)
    card.text(0.1 / width, 1 - 0.14 / height, panel["title"], transform=card.transAxes, va="center")
    found = _asked(panel, prometheus, window)
    inner = ((left + 0.55) / size[0], (bottom + 0.3) / size[1], (width - 0.75) / size[0], (height - 0.7) / size[1])
    match panel["type"]:
        case "stat":
            _stat(card, panel, found)
        case "table":
            _table(card, found, int((height - 0.6) / 0.17))
        case "timeseries" if found:
            _lines(figure.add_axes(inner), panel, found, window)
        case "heatmap" if found:
            _heatmap(figure.add_axes(inner), panel, found, window)
        case _:
            empty = panel["fieldConfig"]["defaults"].get("noValue", "no data")
            card.text(0.5, 0.45, empty, transform=card.transAxes, ha="center", color=_FAINT, fontsize=9)


def _asked(panel: Json, prometheus: Prometheus, window: Window) -> list[tuple[str, Series]]:
    """Every series of a panel with its legend."""
    found = []
    for target in panel["targets"]:
        expression = expand(target["expr"], window.rate_interval)
        if panel["type"] == "table":
            rows = prometheus.now(expression)
        else:
            rows = prometheus.over(expression, window.start_s, window.end_s, window.step_s)
        found += [(_legend(target["legendFormat"], row.labels), row) for row in rows]
    return found


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), form)


def _stat(card: Axes, panel: Json, found: list[tuple[str, Series]]) -> None:
    write = _writer(panel["fieldConfig"]["defaults"]["unit"])
    for index, (legend, series) in enumerate(found):
        x = (index + 0.5) / len(found)
        good = [value for value in series.values if np.isfinite(value)]
        text = write(good[-1]) if good else "no data"
        colour = _hue(panel, good[-1] if good else 0.0)
        card.text(x, 0.44, text, transform=card.transAxes, ha="center", va="center", fontsize=17, color=colour)
        card.text(x, 0.14, legend, transform=card.transAxes, ha="center", va="center", fontsize=7, color=_FAINT)


def _hue(panel: Json, value: float) -> str:
    """The colour of a number by the panel's thresholds; that of text where it has none."""
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ())
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return _HUES[reached[-1]] if reached else _INK


def _table(card: Axes, found: list[tuple[str, Series]], lines: int) -> None:
    if not found:
        card.text(0.5, 0.45, "empty", transform=card.transAxes, ha="center", color=_FAINT, fontsize=9)
        return
    columns = [*sorted(found[0][1].labels), "value"]
    rows = [
        [series.labels.get(name, "")[:26] for name in columns[:-1]] + [f"{series.values[-1]:g}"] for _, series in found
    ]
    for line, row in enumerate([columns, *rows[:lines]]):
        for column, cell in enumerate(row):
            colour = _FAINT if line == 0 else _INK
            at = (0.02 + 0.96 * column / len(columns), 0.96 - 0.84 * (line + 1.6) / (lines + 2))
            card.text(*at, cell, transform=card.transAxes, color=colour)


def _lines(axes: Axes, panel: Json, found: list[tuple[str, Series]], window: Window) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    base: Any = 0.0
    for index, (legend, series) in enumerate(sorted(found, key=lambda pair: pair[0])):
        times, values = _gridded(series, window)
        colour = _COLOURS[index % len(_COLOURS)]
        top = base + np.nan_to_num(values) if custom["stacking"]["mode"] == "normal" else values
        axes.plot(times, top, color=colour, linewidth=1, label=legend)
        if custom["stacking"]["mode"] == "normal":
            axes.fill_between(times, base, top, color=colour, alpha=0.3, linewidth=0)
            base = top
    lowest, highest = axes.get_ylim()
    room = 1.25 * highest if highest > 0 else highest  # for the legend
    axes.set_ylim(bottom=min(0.0, lowest), top=panel["fieldConfig"]["defaults"].get("max", room))
    _dress(axes, panel, window)
    axes.legend(
        loc="upper left",
        fontsize=5.5,
        ncols=2,
        facecolor=_CARD,
        edgecolor="none",
        framealpha=0.7,
        labelcolor=_INK,
        handlelength=1,
        borderaxespad=0.1,
    )


def _gridded(series: Series, window: Window) -> tuple[Any, Any]:
    """Values on the window's own grid, NaN where Prometheus had none: gaps stay gaps."""
    times = np.arange(window.start_s, window.end_s + window.step_s / 2, window.step_s)
    values = np.full(len(times), np.nan)
    at = np.rint((np.array(series.times_s) - window.start_s) / window.step_s).astype(int)
    values[at] = series.values
    return times - window.end_s, values


def _heatmap(axes: Axes, panel: Json, found: list[tuple[str, Series]], window: Window) -> None:
    """Cumulative buckets made into cells; the last edge is +Inf."""
    ordered = sorted(found, key=lambda pair: float(pair[0]))
    times = _gridded(ordered[0][1], window)[0]
    cumulative = np.nan_to_num(np.array([_gridded(series, window)[1] for _, series in ordered]))
    cells = np.maximum(np.diff(cumulative, axis=0, prepend=0), 0)
    edges = np.arange(len(ordered) + 1)
    shown = np.ma.masked_less_equal(cells, 0)
    axes.pcolormesh(np.append(times, times[-1] + window.step_s), edges, shown, cmap="Blues_r", shading="flat")
    write = _writer(panel["fieldConfig"]["defaults"]["unit"])
    _dress(axes, panel, window)
    axes.set_yticks(edges[1::2], [write(float(legend)) for legend, _ in ordered[::2]])


def _dress(axes: Axes, panel: Json, window: Window) -> None:
    write = _writer(panel["fieldConfig"]["defaults"]["unit"])
    axes.set(facecolor=_CARD, xlim=(window.start_s - window.end_s, 0))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "now" if value == 0 else f"{value:g} s"))
    axes.tick_params(colors=_FAINT, labelsize=6, length=0)
    axes.grid(color=_GRID, linewidth=0.5)
    axes.spines[:].set_visible(False)


def _writer(unit: str) -> Callable[[float], str]:
    """How Grafana writes a number of that unit, near enough."""
    forms: dict[str, Callable[[float], str]] = {
        "s": lambda value: f"{value * 1e3:.3g} ms" if abs(value) < 1 else f"{value:.3g} s",
        "percentunit": lambda value: f"{value * 100:,.1f} %",
        "reqps": lambda value: f"{value:.3g}/s",
        "bytes": lambda value: f"{value / 2**30:.3g} GiB",
        "currencyUSD": lambda value: f"${value:.3g}",
    }
    return forms.get(unit, lambda value: f"{value:.4g}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    end_s = time.time()
    seconds = options.minutes * 60
    window = Window(end_s - seconds, end_s, max(seconds / 240, 1), options.rate_interval)
    for path in draw_all(options.dashboards, Prometheus(options.prometheus), window, options.out):
        print(f"drew {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.dashboards.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--prometheus", default="http://localhost:9090", metavar="URL", help="(%(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="how far back (%(default)s)")
    parser.add_argument("--rate-interval", default="1m", help="four scrape intervals (%(default)s)")
    parser.add_argument("--dashboards", type=Path, default=Path("helm/rcnn/dashboards"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("docs/dashboards"), metavar="DIR")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
