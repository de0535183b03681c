"""The trade-off as a picture: AP against latency, each variant a disc as large as its graphs."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.trade_off import Outcome, on_the_front

_ON, _OFF = "#0072b2", "#9aa0a6"
_POINTS_PER_MB = 18.0


def draw(outcomes: Sequence[Outcome], title: str, file: Path) -> None:
    """Write file, a PNG; variants that none beats in both are blue and joined."""
    figure = Figure(figsize=(9, 5.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    chosen = on_the_front(outcomes)
    front = sorted((one.latency_ms, one.ap) for one, is_on in zip(outcomes, chosen, strict=True) if is_on)
    axes.plot(*zip(*front, strict=True), color=_ON, linewidth=1.2, linestyle="--", drawstyle="steps-post", zorder=1)
    for one, is_on in zip(outcomes, chosen, strict=True):
        colour, size = (_ON if is_on else _OFF), one.graphs_mb * _POINTS_PER_MB
        axes.scatter(one.latency_ms, one.ap, s=size, color=colour, alpha=0.55, edgecolor="black", linewidth=0.6)
    _label(axes, outcomes)
    axes.set_xscale("log")
    axes.set_xlabel("median latency of one request alone, ms (this machine, alternating)")
    axes.set_ylabel(f"{outcomes[0].kind} AP")
    axes.set_title(f"{title}; area: size of the graphs")
    axes.grid(alpha=0.3, which="both")
    axes.margins(x=0.15, y=0.18)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _label(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Names above and below in turn, from quick to slow: neighbours do not write over each other."""
    for place, one in enumerate(sorted(outcomes, key=lambda one: one.latency_ms)):
        text = f"{one.name}\n{one.ap:.3f}, {one.ratio:.2f}x, {one.graphs_mb:.0f} MB"
        above = place % 2 == 0
        axes.annotate(
            text,
            (one.latency_ms, one.ap),
            xytext=(0, 16 if above else -16),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=8,
        )
