"""Plots of the classic systems as picture files. The only importer of matplotlib here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from model.classic.anchors import CellAnchors
from model.classic.proposals.recall import COUNTS, IOU_THRESHOLDS, Recall
from model.classic.trunks import STRIDE_PX

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


def draw_comparison(path: Path, document: dict[str, Any]) -> None:
    """Training by stage, an image with and without proposals, AP50: of each system, from what comparison.json holds."""
    systems: dict[str, Any] = document["systems"]
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    training, asking, finding = figure.subplots(1, 3)
    _draw_stages(training, systems)
    for offset, key, words in ((-0.2, "without_proposals", "alone"), (0.2, "with_proposals", "with proposals")):
        seconds = [row["seconds_an_image"][key] for row in systems.values()]
        bars = asking.bar(np.arange(len(systems)) + offset, seconds, 0.4, label=words)
        asking.bar_label(bars, fmt="%.2f", fontsize=7)
    asking.set_yscale("log")
    asking.set_ylabel("seconds an image (processor)")
    asking.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    finding.bar_label(finding.bar(np.arange(len(systems)), [row["AP50"] for row in systems.values()]), fmt="%.3f")
    finding.set_ylim(0, 1)
    finding.set_ylabel("AP50")
    for axes in (asking, finding):
        axes.set_xticks(np.arange(len(systems)), list(systems), rotation=15)
    save(figure, path)


def _draw_stages(axes: Axes, systems: dict[str, Any]) -> None:
    """Horizontal bars, a part for each stage, named where there is room."""
    longest = max(sum(row["cpu_s"].values()) for row in systems.values())
    for place, row in enumerate(systems.values()):
        left = 0.0
        for index, (stage, seconds) in enumerate(row["cpu_s"].items()):
            axes.barh(place, seconds, left=left, color=f"C{index}", edgecolor="white")
            if seconds > 0.17 * longest:
                axes.text(left + seconds / 2, place, stage, ha="center", va="center", fontsize=7, wrap=True)
            left += seconds
    axes.set_yticks(np.arange(len(systems)), list(systems))
    axes.invert_yaxis()
    axes.set_xlabel("training by stage, processor seconds")


def draw_anchors(
    path: Path, image_rgb: NDArray[np.uint8], truths_xyxy: NDArray[np.float32], sides_px: Sequence[float]
) -> None:
    """The anchors of the cell nearest the middle of image_rgb, every cell's centre, and the objects (white)."""
    height, width = image_rgb.shape[:2]
    corner = np.array([width, height]) // STRIDE_PX // 2 * STRIDE_PX
    anchors = CellAnchors(sides_px).cell_anchors[0].numpy() + np.tile(corner, 2)
    figure = Figure(figsize=(7, 7 * height / width), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image_rgb)
    y, x = np.mgrid[STRIDE_PX / 2 : height : STRIDE_PX, STRIDE_PX / 2 : width : STRIDE_PX]
    axes.plot(x.ravel(), y.ravel(), ".", color="white", markersize=2)
    for box in truths_xyxy:
        axes.add_patch(_outline(box, "white", 1))
    for index, box in enumerate(anchors):
        axes.add_patch(_outline(box, f"C{index % len(sides_px)}", 2))
    axes.set_axis_off()
    save(figure, path)


def _outline(box_xyxy: NDArray[np.float32], colour: str, line: float) -> Rectangle:
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=line)


def save(figure: Figure, path: Path) -> None:
    """Write figure as its file name's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
