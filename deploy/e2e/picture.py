"""The timeline as a picture: weight and pods, p95 of the callers, verdicts and acts along one axis."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.e2e.accounts import p95_s
from deploy.e2e.timeline import Act, Sample
from deploy.e2e.traffic import Asked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW_S = 5.0
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "0.6"  # Okabe and Ito


def draw(
    acts: Sequence[Act], samples: Sequence[Sample], main: Sequence[Asked], burst: Sequence[Asked], file: Path
) -> None:
    from matplotlib.figure import Figure  # a development tool: not there in a pod

    figure = Figure(figsize=(13, 8), dpi=90, layout="constrained")
    is_scaled = any(sample.replicas for sample in samples)
    axes = figure.subplots(4 if is_scaled else 3, 1, sharex=True)
    start = acts[0].began
    _weights(axes[0], samples, start)
    _share(axes[1], samples, main, start)
    _latencies(axes[2], main, burst, start)
    if is_scaled:
        _autoscaling(axes[3], samples, start)
    for axis in axes:
        axis.grid(alpha=0.3)
        for act in acts:
            axis.axvline((act.began - start) / 60, color=GREY, linewidth=0.6)
    for act, minute in zip(acts, _apart([(act.began - start) / 60 for act in acts]), strict=True):
        axes[0].annotate(act.name, (minute, 1.02), xycoords=("data", "axes fraction"), rotation=40, fontsize=8)
    axes[-1].set_xlabel("minutes")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _apart(minutes: Sequence[float]) -> list[float]:
    """Where names stand so that short acts do not write over each other: in order, a fortieth of the axis apart."""
    least, places = (minutes[-1] - minutes[0]) / 40, list[float]()
    for minute in minutes:
        places.append(max(minute, places[-1] + least) if places else minute)
    return places


def _minutes(samples: Sequence[Sample], start: float) -> list[float]:
    return [(sample.at - start) / 60 for sample in samples]


def _weights(axis: "Axes", samples: Sequence[Sample], start: float) -> None:
    axis.step(_minutes(samples, start), [one.weight for one in samples], color=BLUE, label="weight of the candidate")
    for verdict, colour, height in (("promote", GREEN, 104), ("rollback", RED, 104), ("undecided", GREY, 104)):
        moments = [(one.at - start) / 60 for one in samples if one.verdict == verdict]
        axis.plot(moments, [height] * len(moments), "|", color=colour, label=f"judge: {verdict}")
    axis.set_ylabel("per cent")
    axis.set_ylim(-3, 110)
    axis.legend(loc="center right", fontsize=8)


def _share(axis: "Axes", samples: Sequence[Sample], main: Sequence[Asked], start: float) -> None:
    """Answers by release, as callers saw them, and the pods that gave them."""
    releases = sorted({one.release for one in main if one.release})
    for place, release in enumerate(releases):
        moments = [(one.done - start) / 60 for one in main if one.release == release and one.is_ok]
        errors = [(one.done - start) / 60 for one in main if one.release == release and not one.is_ok]
        axis.plot(moments, [place] * len(moments), "|", color=BLUE)
        axis.plot(errors, [place + 0.25] * len(errors), "x", color=RED, markersize=4)
    axis.set_yticks(range(len(releases)), releases, fontsize=7)
    axis.set_ylabel("answers of")
    pods = axis.twinx()
    pods.step(_minutes(samples, start), [sum(one.pods.values()) for one in samples], color=ORANGE, linewidth=1)
    pods.set_ylabel("ready pods", color=ORANGE)


def _latencies(axis: "Axes", main: Sequence[Asked], burst: Sequence[Asked], start: float) -> None:
    for asked, colour, name in ((main, BLUE, "canary release"), (burst, ORANGE, "autoscaled release")):
        if not asked:
            continue
        moments, end = [min(one.due for one in asked)], max(one.due for one in asked)
        while moments[-1] < end:
            moments.append(moments[-1] + WINDOW_S)
        values = [p95_s(asked, moment, moment + WINDOW_S) for moment in moments]
        shown = [(moment, value) for moment, value in zip(moments, values, strict=True) if value is not None]
        axis.plot(
            [(moment - start) / 60 for moment, _ in shown], [value for _, value in shown], color=colour, label=name
        )
    axis.set_yscale("log")
    axis.set_ylabel(f"p95 of {WINDOW_S:.0f} s, s")
    axis.legend(loc="upper right", fontsize=8)


def _autoscaling(axis: "Axes", samples: Sequence[Sample], start: float) -> None:
    axis.step(_minutes(samples, start), [one.replicas for one in samples], color=ORANGE, label="replicas wanted")
    axis.set_ylabel("replicas")
    axis.legend(loc="upper left", fontsize=8)
    signal = axis.twinx()
    seen = [one for one in samples if one.signal_milli is not None]
    signal.plot(_minutes(seen, start), [(one.signal_milli or 0) / 1000 for one in seen], color=GREY, linewidth=1)
    signal.set_ylabel("queued work, s", color=GREY)
