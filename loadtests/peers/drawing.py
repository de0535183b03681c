"""A comparison as one picture: goodput above, waiting at equal load below, a column a load."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.peers.catalogue import NAMES, OURS, TITLES
from loadtests.peers.figures import Cell, Spread, cell
from loadtests.peers.loads import LOADS, Load
from loadtests.peers.records import OBJECTIVE_MS, Record, Versions
from loadtests.plot import OK_COLOUR

PEER_COLOUR = "#9a9a9a"
ENGINES = {"fake": "engine of a fixed price a batch", "onnx": "blood-cells on ONNX Runtime"}


def peers_figure(records: Sequence[Record]) -> Figure:
    """Bars are medians, whiskers the spread over rounds."""
    measured = {record.load for record in records if not isinstance(record, Versions)}
    loads = [load for load in LOADS if load.name in measured]
    figure = Figure(figsize=(3.6 * max(1, len(loads)), 6.4), layout="constrained")
    rows = figure.subplots(2, max(1, len(loads)), squeeze=False)
    for load, above, below in zip(loads, *rows, strict=False):
        cells = {name: cell(records, name, load.name) for name in NAMES}
        _draw_goodput(above, load, cells)
        _draw_waiting(below, cells)
    return figure


def _draw_goodput(axes: Axes, load: Load, cells: dict[str, Cell]) -> None:
    _bars(axes, {name: of.goodput_per_s for name, of in cells.items()})
    sizes = "one size" if load.sizes == 1 else f"{load.sizes} sizes"
    axes.set_title(f"{ENGINES[load.engine]},\n{sizes}", fontsize=9)
    axes.set_xlabel(f"images/s held at p95 <= {OBJECTIVE_MS:g} ms", fontsize=8)


def _draw_waiting(axes: Axes, cells: dict[str, Cell]) -> None:
    _bars(axes, {name: of.equal_p99_ms for name, of in cells.items()})
    rate_per_s = next((of.equal_rate_per_s for of in cells.values() if of.equal_rate_per_s), None)
    axes.set_xlabel("p99 in ms" + ("" if rate_per_s is None else f" at {rate_per_s:.3g}/s"), fontsize=8)


def _bars(axes: Axes, spreads: dict[str, Spread | None]) -> None:
    """Where there is nothing, no bar and a dash."""
    names = list(spreads)
    values = [spread.median if (spread := spreads[name]) else 0.0 for name in names]
    below = [spread.median - spread.least if (spread := spreads[name]) else 0.0 for name in names]
    above = [spread.most - spread.median if (spread := spreads[name]) else 0.0 for name in names]
    colours = [OK_COLOUR if name == OURS else PEER_COLOUR for name in names]
    drawn = axes.barh(range(len(names)), values, color=colours, xerr=[below, above], error_kw={"lw": 1}, height=0.65)
    axes.bar_label(
        drawn,
        [
            f"{value:.0f}" if value >= 100 else f"{value:.3g}" if spreads[name] else "-"
            for name, value in zip(names, values, strict=True)
        ],
        padding=4,
        fontsize=8,
    )
    axes.set_yticks(range(len(names)), [TITLES[name] for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.grid(axis="x", alpha=0.25)
