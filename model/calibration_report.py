"""Calibration as one HTML file: reliability before and after, all classes together and each."""

from html import escape
from pathlib import Path

from model.average_precision import Matches
from model.calibrate import FOLDS, HeldOut
from model.charts import calibration
from model.evaluate import Evaluation
from model.operating_point import reliability


def write_report(path: Path, before: Evaluation, held_out: HeldOut) -> None:
    """Write path, making its folder."""
    title = f"{before.identity['name']} {before.identity['version']}"
    style = (Path(__file__).parent / "report.css").read_text()
    raw = dict(zip(before.data.labels, before.by_class["box"], strict=True))
    rows = [_row("All classes", list(raw.values()), list(held_out.by_class.values()))]
    rows += [_row(label, [found], [held_out.by_class[label]]) for label, found in raw.items() if len(raw) > 1]
    words = (
        f"{len(before.data.images)} images of split {escape(before.data.split)}; after: {FOLDS} parts, each calibrated "
        "by a fit to the others. A score is honest where bars end on the diagonal."
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} – calibration</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head><body>'
        f"<h1>{escape(title)} <small>calibration</small></h1><p>{words}</p>{''.join(rows)}</body></html>\n"
    )


def _row(name: str, before: list[Matches], after: list[Matches]) -> str:
    cards = "".join(
        f'<div class="card"><h3>{words}</h3>{_diagram(found)}</div>'
        for words, found in (("Before", before), ("After, held out", after))
    )
    return f'<h2>{escape(name)}</h2><div class="row">{cards}</div>'


def _diagram(found: list[Matches]) -> str:
    trusted = reliability(found)
    words = f"D-ECE {trusted.error} over {int(trusted.count.sum())} detections"
    return calibration(trusted.confidence, trusted.precision, trusted.count, words)
