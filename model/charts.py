"""Small SVG charts for reports: curves and bars over the unit square, coloured by the page's own style."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 440, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40
COLOURS = ("#1f77b4", "#e6550d", "#2ca02c", "#9467bd", "#d62728", "#17a2a2", "#8c564b", "#c2298a", "#7f7f7f", "#b0a000")


@dataclass(frozen=True)
class Curve:
    """Points in [0, 1] x [0, 1], those that are NaN left out."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str
    dashed: bool = False


def curves(rows: Sequence[Curve], x_title: str, y_title: str, mark_x: float | None = None) -> str:
    """An SVG of all rows over the unit square, a legend below; mark_x draws a vertical line."""
    parts = [_frame(x_title, y_title)]
    if mark_x is not None:
        parts.append(f'<line class="mark" x1="{_x(mark_x)}" x2="{_x(mark_x)}" y1="{_y(0)}" y2="{_y(1)}"/>')
    for row in rows:
        shown = ~(np.isnan(row.x) | np.isnan(row.y))
        points = " ".join(f"{_x(x)},{_y(y)}" for x, y in zip(row.x[shown], row.y[shown], strict=True))
        dash = ' stroke-dasharray="5 4"' if row.dashed else ""
        parts.append(f'<polyline fill="none" stroke="{row.colour}" stroke-width="2"{dash} points="{points}"/>')
    return f"<figure>{_svg(parts)}{_legend(rows)}</figure>"


def calibration(
    confidence: NDArray[np.float64], precision: NDArray[np.float64], count: NDArray[np.int64], caption: str
) -> str:
    """A reliability diagram: precision by confidence against the diagonal, how many detections each bin holds below."""
    parts = [_frame("confidence (score)", "precision")]
    parts.append(f'<line class="mark" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>')
    width = (_WIDTH - _LEFT - _RIGHT) / len(count)
    tallest = max(int(count.max(initial=0)), 1)
    for index, number in enumerate(count):
        left = f"{_LEFT + index * width + 1:.1f}"
        size = f'x="{left}" width="{width - 2:.1f}"'
        if number:
            top = _y(float(precision[index]))
            title = (
                f"<title>{number} detections, confidence {confidence[index]:.3f}, right {precision[index]:.3f}</title>"
            )
            parts.append(f'<rect class="bar" {size} y="{top}" height="{_y(0) - top:.1f}">{title}</rect>')
        share = 0.12 * number / tallest
        parts.append(f'<rect class="count" {size} y="{_y(share)}" height="{_y(0) - _y(share):.1f}"/>')
    return f"<figure>{_svg(parts)}<figcaption>{escape(caption)}</figcaption></figure>"


def _x(value: float) -> float:
    return round(_LEFT + float(value) * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float) -> float:
    return round(_HEIGHT - _BOTTOM - float(value) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _svg(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


def _frame(x_title: str, y_title: str) -> str:
    parts = []
    for tick in np.linspace(0, 1, 6):
        parts.append(f'<line class="grid" x1="{_x(tick)}" x2="{_x(tick)}" y1="{_y(0)}" y2="{_y(1)}"/>')
        parts.append(f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(tick)}" y2="{_y(tick)}"/>')
        parts.append(f'<text x="{_x(tick)}" y="{_y(0) + 15}" text-anchor="middle">{tick:.1f}</text>')
        parts.append(f'<text x="{_LEFT - 6}" y="{_y(tick) + 4}" text-anchor="end">{tick:.1f}</text>')
    middle_y = (_y(0) + _y(1)) / 2
    parts.append(f'<text x="{_x(0.5)}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>')
    turn = f'transform="rotate(-90 12 {middle_y})"'
    parts.append(f'<text x="12" y="{middle_y}" text-anchor="middle" {turn}>{escape(y_title)}</text>')
    return "".join(parts)


def _legend(rows: Sequence[Curve]) -> str:
    styles = [f"border-top:3px {'dashed' if row.dashed else 'solid'} {row.colour}" for row in rows]
    entries = (
        f'<span><i style="{style}"></i>{escape(row.name)}</span>' for style, row in zip(styles, rows, strict=True)
    )
    return f'<figcaption class="legend">{"".join(entries)}</figcaption>'
