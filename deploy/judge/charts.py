"""Curves of a report as SVG: the evidence over pairs, and the work of both sides."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from deploy.judge.details import Look, shares_under
from deploy.judge.shadow_gate import Buckets

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 300, 150, 34, 8, 20
_LOWEST, _HIGHEST = -2.0, 8.0  # powers of ten; evidence beyond is drawn at the rim
Point = tuple[float, float]


def evidence(name: str, looks: Sequence[Look], thresholds: tuple[float, float]) -> str:
    """
    A guard's two e-values over the pairs, on a scale of powers of ten.

    thresholds: log e-values that roll back and that promote.
    """
    most = max((look.pairs for look in looks), default=0) or 1
    parts = [_axis("pairs", f"{most}")]
    for power in (0, 2, 4, 6, 8):
        parts.append(_label(f"1e{power}" if power else "1", _LEFT - 4, _y(power) + 3, "end"))
    for kind, limit in zip(("worse", "fine"), thresholds, strict=True):
        y = _y(limit / math.log(10))
        parts.append(f'<line class="limit {kind}" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for place, kind in enumerate(("worse", "fine")):
        points = [(_x(look.pairs / most), _y(look.log_e[name][place] / math.log(10))) for look in looks]
        parts.append(_curve(points, kind))
    return _figure(name, parts)


def work(work_s: Mapping[str, Buckets]) -> str:
    """The share of images done within a time, of both sides, on a logarithmic scale of seconds."""
    curves = {side: shares_under(buckets) for side, buckets in work_s.items()}
    edges = sorted({edge for curve in curves.values() for edge, share in curve if 0.001 < share < 0.9999})
    if not edges:
        return ""
    low, high = math.log(edges[0] / 1.5), math.log(edges[-1] * 1.5)
    parts = [_axis("seconds of work", f"{math.exp(high):.2g}", f"{math.exp(low):.2g}")]
    for share in (0.5, 0.95):
        y = _level(share)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_label(f"{share:.0%}", _LEFT - 4, y + 3, "end"))
    for side, curve in curves.items():
        at = [(math.log(edge), share) for edge, share in curve if edge > 0]
        inside = [(_x((x - low) / (high - low)), _level(share)) for x, share in at if low <= x <= high]
        parts.append(_curve(inside, side))
    return _figure("images done within", parts)


def _figure(title: str, parts: Sequence[str]) -> str:
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH + 6} {_HEIGHT}" role="img">{"".join(parts)}</svg></figure>'
    )


def _axis(unit: str, last: str, first: str = "0") -> str:
    y = _HEIGHT - _BOTTOM
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y}" y2="{y}"/>'
        + _label(first, _LEFT, _HEIGHT - 6, "start")
        + _label(unit, (_LEFT + _WIDTH) / 2, _HEIGHT - 6, "middle")
        + _label(last, _WIDTH, _HEIGHT - 6, "end")
    )


def _label(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _curve(points: Sequence[Point], kind: str) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT)


def _level(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _y(power: float) -> float:
    return _level((min(max(power, _LOWEST), _HIGHEST) - _LOWEST) / (_HIGHEST - _LOWEST))
