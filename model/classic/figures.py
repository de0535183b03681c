"""Plots of the classic systems as picture files. The only importer of matplotlib here."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.classic.proposals.recall import COUNTS, IOU_THRESHOLDS, Recall

_DPI = 110


def draw_recall(path: Path, recalls: Sequence[Recall], title: str) -> None:
    """Recall against IoU with 100, 300 and 2000 proposals, and against their number at IoU 0.5 and 0.7."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    against_iou, against_count = figure.subplots(1, 2, sharey=True)
    for index, recall in enumerate(recalls):
        colour = f"C{index}"
        for count, style in ((100, ":"), (300, "--"), (2000, "-")):
            against_iou.plot(IOU_THRESHOLDS, recall.against_iou(count), style, color=colour)
        against_count.plot(COUNTS, recall.against_count(0.5), "-", color=colour, label=recall.method)
        against_count.plot(COUNTS, recall.against_count(0.7), "--", color=colour)
    _name(against_iou, "IoU (dotted 100, dashed 300, solid 2000 proposals)", "recall")
    _name(against_count, "proposals an image (solid IoU 0.5, dashed 0.7)", "")
    against_count.set_xscale("log")
    against_count.legend(loc="lower right")
    figure.suptitle(title)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write figure as its file name's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
