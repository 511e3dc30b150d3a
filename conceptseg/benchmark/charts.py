"""Line charts as SVG inside a page: no script, no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ..overlay import PALETTE

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 300, 50, 40, 12
_PLOT_RIGHT = 370  # the legend stands right of it
_TICKS = 5


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_title: str,
    y_title: str,
    x_labels: Mapping[float, str] | None = None,
) -> str:
    """SVG of lines with points.

    Args:
        series: name -> points (x, y), in the order of the legend; empty ones are left out.
        x_title: of the horizontal axis.
        y_title: of the vertical axis.
        x_labels: x -> text of the marks; default: evenly spaced numbers.
    """
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    x_range, y_range = _padded(min(xs), max(xs)), _padded(min(ys), max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        plot = _HEIGHT - _BOTTOM - _TOP
        return _LEFT + across * (_PLOT_RIGHT - _LEFT), _HEIGHT - _BOTTOM - up * plot

    marks = x_labels or {x: f"{x:,.0f}" for x in _ticks(*x_range)}
    parts = [_axes(marks, _ticks(*y_range), place, x_title, y_title)]
    for i, (name, points) in enumerate(series.items()):
        colour, y = PALETTE[i % len(PALETTE)], _TOP + 16 * (i + 1)
        at = [place(*point) for point in sorted(points)]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in at]
        parts.append(
            f'<rect x="{_PLOT_RIGHT + 14}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
        )
        parts.append(_text(_PLOT_RIGHT + 30, y, name, "start"))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'font-size="12" font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    """A range somewhat wider than the data, never empty."""
    pad = 0.05 * (high - low) or 0.5
    return low - pad, high + pad


def _ticks(low: float, high: float) -> list[float]:
    """Evenly spaced values inside a range."""
    step = (high - low) / _TICKS
    return [low + step * (i + 0.5) for i in range(_TICKS)]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    """Text at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222">{escape(text)}</text>'


def _axes(marks, y_ticks, place, x_title: str, y_title: str) -> str:
    """Frame, marks and titles."""
    bottom = _HEIGHT - _BOTTOM
    parts = [
        f'<path d="M{_LEFT} {_TOP} V{bottom} H{_PLOT_RIGHT}" fill="none" stroke="#888"/>',
        _text((_LEFT + _PLOT_RIGHT) / 2, _HEIGHT - 6, x_title, "middle"),
        _text(4, _TOP, y_title, "start"),
    ]
    parts += [
        _text(place(x, y_ticks[0])[0], bottom + 16, label, "middle") for x, label in marks.items()
    ]
    parts += [
        _text(_LEFT - 6, place(next(iter(marks)), y)[1] + 4, f"{y:.2f}", "end") for y in y_ticks
    ]
    return "".join(parts)
