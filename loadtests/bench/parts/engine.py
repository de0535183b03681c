"""One image to its detections: torchvision, its own export, and our graphs on each engine."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from matplotlib.figure import Figure as Plot

from loadtests import plot
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.bench.inside import measured, ratios

TITLE = "engine: one decoded image to its detections with masks, as times the speed of torchvision eager"
MODELS = ("maskrcnn_resnet50_fpn", "nuclei", "blood-cells")
EAGER = "torchvision eager"
TARGETS = {"maskrcnn_resnet50_fpn": 5.0}
"""Of the fastest way, as times the speed of eager."""


def measure(plan: Plan) -> Result:
    """ResNet-50 sees 800 x 1066 pixels and has random weights; the shipped models see their first golden image."""
    figures: list[Figure] = []
    notes: list[str] = []
    plots: dict[str, Plot] = {}
    for model in MODELS:
        found = measured("engines", "--model", model, "--rounds", str(plan.rounds))
        figures += _figures(model, found["seconds"])
        notes.append(_note(model, found))
        bars = [(way, median(seconds)) for way, seconds in found["seconds"].items()]
        plots[f"engine-{model}"] = plot.bar_figure(f"{model}: seconds an image", bars, "s")
    return Result(figures, notes, plots)


def _figures(model: str, seconds: Mapping[str, list[float]]) -> list[Figure]:
    figures = [Figure(f"{model}: {EAGER}", median(seconds[EAGER]) * 1e3, "ms")]
    faster = {way: ratios(seconds[EAGER], runs) for way, runs in seconds.items() if way != EAGER}
    best = max(faster, key=lambda way: faster[way][0])
    for way, (middle, least, most) in faster.items():
        target = TARGETS.get(model) if way == best else None
        figures.append(Figure(f"{model}: {way}", middle, f"x eager ({least:.2f} to {most:.2f})", at_least=target))
    return figures


def _note(model: str, found: Mapping[str, Any]) -> str:
    counts = sorted(set(found["detections"].values()))
    agree = f"all find {counts[0]}" if len(counts) == 1 else f"they find {found['detections']}"
    return f"{model}: {found['threads']} threads; {agree} detections"
