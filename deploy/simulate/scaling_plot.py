"""The pictures of docs/autoscaling.md."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.simulate.scaling import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#56b4e9", "#0072b2", "#009e73", "#000000", "#d55e00", "#e69f00")  # Okabe and Ito: told apart by everybody
MARKERS = ("o", "s", "^", "D", "v", "x")
STRETCHES = 120


def draw_prices(
    prices: Mapping[tuple[str, str], Mapping[str, Mapping[float, Outcome]]], most_late: float, file: Path
) -> None:
    """What it costs to be late how seldom: a panel for each pod and load, a curve a signal, a dot a target."""
    from matplotlib.figure import Figure  # a development tool: not there in a pod

    figure = Figure(figsize=(13, 7), dpi=90, layout="constrained")
    axes = figure.subplots(2, -(-len(prices) // 2)).flat
    for axis, ((kind, load), swept) in zip(axes, prices.items(), strict=True):
        axis.set_title(f"{kind}, {load}")
        for (name, by_share), colour, marker in zip(swept.items(), COLOURS, MARKERS, strict=True):
            late = [max(one.late, 1e-4) for one in by_share.values()]
            hours = [one.pod_hours for one in by_share.values()]
            axis.plot(hours, late, color=colour, marker=marker, markersize=4, linewidth=1.2, label=name)
        axis.axhline(most_late, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_yscale("log")
        axis.set_xlabel("pod-hours")
        axis.set_ylabel("late or lost, share")
        axis.grid(alpha=0.3)
    _finish(figure, axis, file)


def draw_courses(
    courses: Mapping[str, Mapping[str, Outcome]], capacity_per_s: float, objective_s: float, file: Path
) -> None:
    """load -> signal -> outcome: ready pods above, with the least there could be; p95 below."""
    from matplotlib.figure import Figure  # a development tool: not there in a pod

    figure = Figure(figsize=(13, 6), dpi=90, layout="constrained")
    axes = figure.subplots(2, len(courses), sharex="col", sharey="row")
    for column, (load, by_signal) in enumerate(courses.items()):
        above, below = axes[0][column], axes[1][column]
        above.set_title(load)
        for (name, outcome), colour in zip(by_signal.items(), COLOURS, strict=True):
            minutes = _stretched(outcome.moments, np.mean) / 60
            above.step(minutes, _stretched(outcome.ready, np.mean), color=colour, linewidth=1.3, label=name)
            below.plot(minutes, _stretched(outcome.slow_s, np.nanmax), color=colour, linewidth=1.1)
        needed = _stretched(outcome.offered_per_s, np.mean) / capacity_per_s
        above.fill_between(minutes, needed, step="mid", color="0.88", zorder=0, label="offered, in pods' capacity")
        below.axhline(objective_s, color="0.6", linewidth=0.8, linestyle=":")
        below.set_yscale("log")
        below.set_xlabel("minutes")
    axes[0][0].set_ylabel("ready pods")
    axes[1][0].set_ylabel("highest p95, s")
    _finish(figure, axes[0][0], file)


def _finish(figure: Any, labelled: "Axes", file: Path) -> None:
    figure.legend(*labelled.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _stretched(
    values: NDArray[np.float64] | NDArray[np.int64], summary: Callable[..., np.floating[Any]]
) -> NDArray[np.float64]:
    """(M,) in at most STRETCHES stretches of equal length."""
    return np.array([summary(part) for part in np.array_split(values, min(STRETCHES, len(values)))])
