"""A run as pictures: latency over time, its distribution, and each kind of caller. The only importer of matplotlib."""

import io
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
    run_figure(summary, samples).savefig(path, dpi=110)


def run_figure(summary: Summary, samples: Sequence[Sample]) -> Figure:
    """Latency over time beside its distribution, and below it the kinds of caller where there are several."""
    figure = Figure(figsize=(12, 8 if summary.kinds else 4.5), layout="constrained")
    rows = figure.subplots(2 if summary.kinds else 1, 2, width_ratios=[3, 2], squeeze=False)
    _draw_over_time(rows[0][0], samples)
    _draw_distribution(rows[0][1], summary, samples)
    if summary.kinds:
        _draw_rates(rows[1][0], samples)
        _draw_kinds(rows[1][1], summary)
    figure.suptitle(
        f"{summary.scenario}: {summary.ok} of {summary.sent} ok, "
        f"{summary.offered_per_s:.1f}/s offered, {summary.goodput_per_s:.1f}/s good"
    )
    return figure


def to_svg(figure: Figure) -> str:
    """The <svg> element alone, to stand inside an HTML document."""
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=110)
    return text.getvalue()[text.getvalue().index("<svg") :]


def soak_figure(
    moments_s: Sequence[float], resident_mb: Sequence[float], p95_ms: Sequence[float], planned_s: float
) -> Figure:
    """Memory over time above p95 over time; p95_ms: of equal parts of the time."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot([moment_s / 60 for moment_s in moments_s], resident_mb, color=OK_COLOUR, linewidth=1)
    upper.set_ylabel("resident memory, MB")
    middles_min = [(index + 0.5) * planned_s / len(p95_ms) / 60 for index in range(len(p95_ms))]
    lower.plot(middles_min, p95_ms, color=OK_COLOUR, marker="o", markersize=3, linewidth=1)
    lower.set_ylabel("p95, ms")
    lower.set_xlabel("minutes")
    for axes, values in ((upper, resident_mb), (lower, p95_ms)):
        axes.set_ylim(0, 1.15 * float(np.nanmax([1e-9, *values])))
        axes.grid(alpha=0.3)
    return figure


def bar_figure(title: str, bars: Sequence[tuple[str, float]], unit: str, target: float | None = None) -> Figure:
    """Horizontal bars with their values, and a line where they should reach."""
    figure = Figure(figsize=(8, 0.8 + 0.45 * len(bars)), layout="constrained")
    axes = figure.subplots()
    names, values = [name for name, _ in bars], [value for _, value in bars]
    drawn = axes.barh(range(len(bars)), values, color=OK_COLOUR, height=0.6)
    axes.bar_label(drawn, fmt="%.3g", padding=3, fontsize=9)
    axes.set_yticks(range(len(bars)), names)
    axes.invert_yaxis()
    if target is not None:
        axes.axvline(target, color=OTHER_COLOURS[0], ls="--", lw=1, label=f"target {target:g}")
        axes.legend(loc="lower right", fontsize=8)
    axes.set(xlabel=unit, title=title)
    axes.margins(x=0.12)
    return figure


def _draw_over_time(axes: Axes, samples: Sequence[Sample]) -> None:
    for outcome, colour in _colours(samples).items():
        chosen = [sample for sample in samples if sample.outcome == outcome]
        due_s, latency_ms = [s.due_s for s in chosen], [s.latency_ms for s in chosen]
        label = f"{outcome} ({len(chosen)})"
        # One picture of all dots instead of an element each: a report of ten thousand requests stays small.
        axes.scatter(due_s, latency_ms, s=12, color=colour, alpha=0.6, linewidths=0, label=label, rasterized=True)
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


def _draw_rates(axes: Axes, samples: Sequence[Sample]) -> None:
    """Per second: how many were due, and how many were answered and refused, by the moment of the answer."""
    end_s = int(max(sample.done_s for sample in samples)) + 1
    lines = {
        "due": ("#9a9a9a", [s.due_s for s in samples]),
        "answered": (OK_COLOUR, [s.done_s for s in samples if s.is_ok]),
        "refused": (OTHER_COLOURS[0], [s.done_s for s in samples if s.is_refusal]),
    }
    for name, (colour, moments_s) in lines.items():
        counts, _ = np.histogram(moments_s, bins=np.arange(end_s + 1))
        axes.stairs(counts, np.arange(end_s + 1), color=colour, label=name, lw=1.6)
    axes.set(xlabel="second of the run", ylabel="requests per second", title="offered and answered")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=8)


def _draw_kinds(axes: Axes, summary: Summary) -> None:
    spreads = [(kind, group.latency_ms) for kind, group in summary.kinds.items() if group.latency_ms is not None]
    places = np.arange(len(spreads))
    for mark, marker in (("p50", "o"), ("p95", "s"), ("p99", "^")):
        axes.plot(places, [getattr(spread, mark) for _, spread in spreads], marker, ls="-", ms=5, lw=0.8, label=mark)
    axes.set_xticks(places, [kind for kind, _ in spreads], rotation=30, ha="right", fontsize=8)
    axes.set(ylabel="latency (ms)", title="latency by kind of caller")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    if spreads:
        axes.legend(loc="best", fontsize=8)


def _colours(samples: Sequence[Sample]) -> dict[str, str]:
    outcomes = sorted({sample.outcome for sample in samples})
    others = [outcome for outcome in outcomes if outcome != "200"]
    colours = {outcome: OTHER_COLOURS[index % len(OTHER_COLOURS)] for index, outcome in enumerate(others)}
    return {"200": OK_COLOUR, **colours} if "200" in outcomes else colours
