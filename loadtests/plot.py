"""A run as one picture: latency over time beside its distribution. The only importer of matplotlib."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display: this writes files

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report import Summary
from loadtests.samples import Sample

OK_COLOUR = "#1f6fb4"
OTHER_COLOURS = ("#d1495b", "#e5a13a", "#6b5b95", "#3a3a3a", "#3d8b6e")
"""For everything that is not a correct answer, in the order of the outcomes' names."""


def write_plot(summary: Summary, samples: Sequence[Sample], path: Path) -> None:
    """Write a PNG. Dots stand where requests were due: a gap is a gap in the traffic, not in the answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    over_time, distribution = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_over_time(over_time, samples)
    _draw_distribution(distribution, summary, samples)
    figure.suptitle(
        f"{summary.scenario}: {summary.ok} of {summary.sent} ok, "
        f"{summary.offered_per_s:.1f}/s offered, {summary.goodput_per_s:.1f}/s good"
    )
    figure.savefig(path, dpi=110)


def _draw_over_time(axes: Axes, samples: Sequence[Sample]) -> None:
    for outcome, colour in _colours(samples).items():
        chosen = [sample for sample in samples if sample.outcome == outcome]
        due_s, latency_ms = [s.due_s for s in chosen], [s.latency_ms for s in chosen]
        axes.scatter(due_s, latency_ms, s=14, color=colour, alpha=0.7, linewidths=0, label=f"{outcome} ({len(chosen)})")
    axes.set(xlabel="moment the request was due (s)", ylabel="latency from that moment (ms)", title="latency over time")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    if samples:
        axes.legend(loc="best", fontsize=8)


def _draw_distribution(axes: Axes, summary: Summary, samples: Sequence[Sample]) -> None:
    axes.set(xlabel="latency (ms)", ylabel="share of correct answers at or below", title="latency distribution")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)
    latencies_ms = np.sort([sample.latency_ms for sample in samples if sample.is_ok])
    if summary.latency_ms is None:
        axes.text(0.5, 0.5, "no correct answer", ha="center", transform=axes.transAxes)
        return
    axes.step(latencies_ms, np.arange(1, len(latencies_ms) + 1) / len(latencies_ms), where="post", color=OK_COLOUR)
    spread = summary.latency_ms
    marks = (("p50", 0.5, spread.p50, "o"), ("p95", 0.95, spread.p95, "s"), ("p99", 0.99, spread.p99, "^"))
    for name, share, value_ms, marker in marks:
        axes.plot(value_ms, share, marker, ms=6, ls="none", color=OK_COLOUR, label=f"{name}  {value_ms:.0f} ms")
    axes.legend(loc="lower right", fontsize=8)
    axes.set_xlim(left=0)


def _colours(samples: Sequence[Sample]) -> dict[str, str]:
    outcomes = sorted({sample.outcome for sample in samples})
    others = [outcome for outcome in outcomes if outcome != "200"]
    colours = {outcome: OTHER_COLOURS[index % len(OTHER_COLOURS)] for index, outcome in enumerate(others)}
    return {"200": OK_COLOUR, **colours} if "200" in outcomes else colours
