"""The curves of docs/batching.md: a column for each number of canvases, throughput above, p95 below."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.simulate.loads import Result

COLOURS = ("#0072b2", "#d55e00", "#009e73")  # Okabe and Ito: told apart by everybody
MARKERS = ("o", "s", "^")


def draw(curves: Mapping[int, Mapping[str, Sequence[Result]]], capacity_hz: float, file: Path) -> None:
    """curves: number of canvases -> policy -> a Result for each load. capacity_hz: images a second in full batches."""
    from matplotlib.figure import Figure  # a development tool: not there in a pod

    figure = Figure(figsize=(11, 5.2), dpi=90, layout="constrained")
    axes = figure.subplots(2, len(curves), sharex=True, sharey="row")
    for column, (canvases, policies) in enumerate(curves.items()):
        above, below = axes[0][column], axes[1][column]
        above.set_title(f"{canvases} canvas{'es' if canvases > 1 else ''}")
        above.plot([0, 3 * capacity_hz], [0, 3 * capacity_hz], color="0.8", linewidth=1, zorder=0)
        above.set_ylim(0, 1.1 * capacity_hz)
        for (name, results), colour, marker in zip(policies.items(), COLOURS, MARKERS, strict=True):
            style = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.4, "label": name}
            offered_hz = [result.offered_hz for result in results]
            above.plot(offered_hz, [result.answered_hz for result in results], **style)
            below.plot(offered_hz, [result.p95_s * 1e3 for result in results], **style)
        below.set_yscale("log")
        below.set_xlabel("offered, images/s")
        for axis in (above, below):
            axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("answered in time, images/s")
    axes[1][0].set_ylabel("p95 latency, ms")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
