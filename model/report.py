"""An evaluation as one HTML file that needs nothing else: figures, curves, confusions, calibration, worst images."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.average_precision import Matches
from model.charts import COLOURS, Curve, calibration, curves
from model.compare import Difference
from model.evaluate import IN_FLIGHT, Evaluation
from model.gallery import CONFUSED_RGB, MISSED_RGB, RIGHT_RGB, WRONG_RGB, worst

_RECALLS = np.linspace(0, 1, 101)
_THRESHOLDS = np.linspace(0.05, 0.99, 95)
_MOST_CLASSES = len(COLOURS)  # drawn one by one; with more, only their mean and the worst are


def write_report(path: Path, evaluation: Evaluation, differences: Sequence[Difference] = (), other: str = "") -> None:
    """Write path; differences to the bundle named other are shown if there are any."""
    style = (Path(__file__).parent / "report.css").read_text()
    title = f"{evaluation.identity['name']} {evaluation.identity['version']}"
    body = "".join(_sections(evaluation, differences, other))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} – evaluation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head><body>{body}</body></html>\n'
    )


def _sections(evaluation: Evaluation, differences: Sequence[Difference], other: str) -> Iterable[str]:
    yield _head(evaluation)
    if differences:
        yield f"<h2>Against {escape(other)}</h2>{_difference_table(differences)}"
    yield f"<h2>Average precision</h2>{_precision_table(evaluation)}"
    yield f'<h2>Precision and recall</h2><div class="row">{"".join(_curve_cards(evaluation))}</div>'
    yield "<h2>At the operating threshold</h2>" + _operating_row(evaluation)
    yield f"<h2>Speed</h2>{_speed_table(evaluation.metrics)}"
    yield f"<h2>Worst images</h2><p>Lowest F1 at the operating threshold first.</p>{_gallery(evaluation)}"


def _head(evaluation: Evaluation) -> str:
    metrics, identity = evaluation.metrics, evaluation.identity
    point = metrics["operating_point"]
    tiles = [(f"{kind} {name}", metrics[kind][name]) for kind in evaluation.by_class for name in ("AP", "AP50")]
    tiles += [("precision", point["precision"]), ("recall", point["recall"])]
    tiles += [("mean mask IoU", point["mean_mask_iou"])] if "mean_mask_iou" in point else []
    tiles += [("calibration error", metrics["d_ece"])]
    shown = "".join(f'<div class="tile"><b>{_figure(value)}</b><span>{name}</span></div>' for name, value in tiles)
    latency = f'<div class="tile"><b>{metrics["latency_ms"]["p50"]:.0f} ms</b><span>latency p50</span></div>'
    return (
        f"<h1>{escape(identity['name'])} <small>version {escape(identity['version'])}</small></h1>"
        f"<p>{escape(identity['architecture'])} on {metrics['images']} images of split {escape(metrics['split'])}, "
        f"engine {escape(metrics['engine'])}. Precision and recall at score {evaluation.score_threshold:g} and IoU "
        f"{point['match_iou']:g}.<br>bundle <code>{identity['digest']}</code><br>dataset "
        f'<code>sha256:{metrics["dataset_fingerprint"]}</code></p><div class="tiles">{shown}{latency}</div>'
    )


def _precision_table(evaluation: Evaluation) -> str:
    rows = []
    for kind in evaluation.by_class:
        whole = evaluation.metrics[kind]
        sizes = [whole["by_size"][size] for size in ("small", "medium", "large")]
        rows.append(
            [
                f"<b>{kind}, all classes</b>",
                *(_figure(whole[k]) for k in ("AP", "AP50", "AP75", "AR")),
                *map(_figure, sizes),
            ]
        )
        if len(evaluation.data.labels) > 1:
            for label, row in whole["by_class"].items():
                figures = [_figure(row[name]) for name in ("AP", "AP50", "AP75", "AR")]
                rows.append([f"{kind}, {escape(label)}", *figures, "", "", ""])
    return _table(["", "AP", "AP50", "AP75", "AR", "AP small", "AP medium", "AP large"], rows) + (
        "<p>COCO's definition: the mean over IoU 0.50 to 0.95; small below 32², medium below 96² pixels. "
        f"At most {evaluation.metrics['max_detections']} detections an image, "
        f"from score {evaluation.metrics['score_floor']} on.</p>"
    )


def _curve_cards(evaluation: Evaluation) -> Iterable[str]:
    chosen = _telling_classes(evaluation)
    for kind, precision in evaluation.curves.items():
        rows = []
        for colour, index in zip(COLOURS, chosen, strict=False):
            label = evaluation.data.labels[index]
            for level, iou, dashed in ((0, "0.50", False), (5, "0.75", True)):
                rows.append(
                    Curve(f"{label}, IoU {iou}", _RECALLS, _defined(precision[level, :, index]), colour, dashed)
                )
        chart = curves(rows, "recall", "precision")
        yield f'<div class="card"><h3>{kind.capitalize()} precision by recall</h3>{chart}</div>'
    rows = []
    for colour, index in zip(COLOURS, chosen, strict=False):
        label = evaluation.data.labels[index]
        precision_by, recall_by = _by_threshold(evaluation.by_class["box"][index])
        rows.append(Curve(f"{label} precision", _THRESHOLDS, precision_by, colour))
        rows.append(Curve(f"{label} recall", _THRESHOLDS, recall_by, colour, dashed=True))
    chart = curves(rows, "score threshold", "precision, recall (IoU 0.50)", evaluation.score_threshold)
    yield f'<div class="card"><h3>Where to put the threshold</h3>{chart}</div>'


def _telling_classes(evaluation: Evaluation) -> list[int]:
    """All classes with truth in the data, or, of many, those with the lowest AP50."""
    precision = evaluation.curves["box"][0]
    judged = [index for index in range(precision.shape[1]) if (precision[:, index] > -1).any()]
    return sorted(sorted(judged, key=lambda index: float(precision[:, index].mean()))[:_MOST_CLASSES])


def _by_threshold(found: Matches) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (NaN where nothing is found) and recall at each of _THRESHOLDS."""
    given = np.concatenate([[0], np.cumsum(found.counted[0])])
    right = np.concatenate([[0], np.cumsum(found.counted[0] & found.matched[0])])
    places = np.searchsorted(-found.scores, -_THRESHOLDS, side="right")
    with np.errstate(invalid="ignore", divide="ignore"):
        return right[places] / given[places], right[places] / found.truths.sum()


def _defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Beyond the highest recall reached there is no curve."""
    return np.where(values > 0, values, np.nan)


def _operating_row(evaluation: Evaluation) -> str:
    trusted, error = evaluation.reliability, _figure(evaluation.reliability.error)
    words = f"D-ECE {error} over {int(trusted.count.sum())} detections; dark bars: how many fall in each bin"
    diagram = calibration(trusted.confidence, trusted.precision, trusted.count, words)
    return (
        f'<div class="row"><div class="card"><h3>Confusions</h3>{_confusion_table(evaluation)}</div>'
        f'<div class="card"><h3>Reliability</h3>{diagram}</div></div>'
    )


def _confusion_table(evaluation: Evaluation) -> str:
    """Counts, each row shaded by its share of that truth."""
    table, names = evaluation.confusion, [*map(escape, evaluation.data.labels)]
    head = "".join(f"<th>{name}</th>" for name in ["truth ↓ found →", *names, "missed"])
    lines = []
    for index, name in enumerate([*names, "nothing (false alarm)"]):
        total = max(int(table[index].sum()), 1)
        cells = []
        for column, count in enumerate(table[index]):
            hue = "46,160,90" if column == index else "220,70,50"
            shown = "" if index == column == len(names) else str(count)
            cells.append(f'<td style="background:rgba({hue},{0.65 * count / total:.2f})">{shown}</td>')
        lines.append(f"<tr><td>{name}</td>{''.join(cells)}</tr>")
    note = "<p>Matched by IoU 0.50 whatever the class, best score first.</p>"
    return f'<table class="confusion"><tr>{head}</tr>{"".join(lines)}</table>{note}'


def _speed_table(metrics: dict[str, Any]) -> str:
    stages = {"whole request": metrics["latency_ms"], **metrics["stage_ms"]}
    rows = [[name, f"{row['p50']:.1f}", f"{row['p95']:.1f}"] for name, row in stages.items()]
    rate = metrics["throughput_images_per_s"]
    words = "" if rate is None else f"{rate:.1f} images a second with {IN_FLIGHT} requests in flight. "
    note = f"<p>Requests one at a time above. {words}On the machine that wrote this report.</p>"
    return _table(["stage", "p50 ms", "p95 ms"], rows) + note


def _gallery(evaluation: Evaluation) -> str:
    colours = {"right": RIGHT_RGB, "false alarm": WRONG_RGB, "other class": CONFUSED_RGB, "missed": MISSED_RGB}
    key = "".join(f'<span><i style="border-top:4px solid rgb{rgb}"></i>{name}</span>' for name, rgb in colours.items())
    shown = "".join(
        f'<figure><img alt="" src="{row.uri}"><figcaption>{escape(row.file_name)}<br>F1 {row.f1:.2f}: '
        f"{row.right} right, {row.false} false, {row.confused} of another class, {row.missed} missed"
        "</figcaption></figure>"
        for row in worst(evaluation)
    )
    return f'<p class="legend" style="padding:0">{key}</p><div class="gallery">{shown}</div>'


def _difference_table(differences: Sequence[Difference]) -> str:
    rows = []
    for row in differences:
        sure = "better" if row.low > 0 else "worse" if row.high < 0 else ""
        change = f'<span class="{sure}">{row.change:+.3f}</span>'
        cells = [f"{row.here:.3f}", f"{row.there:.3f}", change, f"{row.low:+.3f} to {row.high:+.3f}"]
        rows.append([f"{row.kind}, {escape(row.label)}", *cells])
    note = "<p>Paired bootstrap over images; coloured where the interval leaves out zero.</p>"
    return _table(["AP", "this", "other", "difference", "95 % interval"], rows) + note


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="card"><table>{"".join(lines)}</table></div>'


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
