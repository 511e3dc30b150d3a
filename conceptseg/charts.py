"""Line charts as SVG inside a page: no script, no link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .overlay import PALETTE

HEIGHT = 360  # px
LEFT, RIGHT, TOP, BOTTOM = 60, 450, 16, 312  # px, edges of the plot; the legend stands on the right
LEGEND, LETTER = 54, 6.8  # px from the plot to the names, and about the width of a letter
TICKS = 5
TICK_ROOM = 45  # pixels between the middles of two texts at least


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: in the legend.
        x, y: points in data units, x ascending.
        spread: half width of a band around y, or ().
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    level: tuple[float, str] | None = None,
) -> str:
    """SVG of lines with bands and a legend.

    Args:
        series: lines with at least one point each; the n-th takes the n-th colour.
        x_label: under the axis.
        y_label: beside the axis.
        x_ticks: position and text of each tick, ascending; None: five equal steps.
        level: height and name of a dashed horizontal line.

    Returns:
        An `<svg>` element; a sentence instead when there is nothing to draw.
    """
    series = [line for line in series if len(line.x)]
    if not series:
        return "<p>Nothing to draw yet.</p>"
    low, high = _y_range(series, level)
    left = min(line.x[0] for line in series)
    right = max(line.x[-1] for line in series)
    right = right if right > left else left + 1

    def px(x: float) -> float:
        return LEFT + (x - left) / (right - left) * (RIGHT - LEFT)

    def py(y: float) -> float:
        return TOP + (high - y) / (high - low) * (BOTTOM - TOP)

    width = RIGHT + max(190, round(LEGEND + LETTER * max(len(line.name) for line in series)))
    parts = [
        f'<svg viewBox="0 0 {width} {HEIGHT}" width="{width}" role="img" '
        f'aria-label="{escape(y_label)} over {escape(x_label)}" font-size="12" '
        'font-family="system-ui, sans-serif">'
    ]
    steps = [left + (right - left) * i / TICKS for i in range(TICKS + 1)]
    decimals = 2 if right - left < 100 else 0
    free = width + TICK_ROOM  # pixels left of which there is room for a text
    for x, text in reversed(x_ticks or [(x, f"{round(x, decimals):,g}") for x in steps]):
        parts.append(
            f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{TOP}" y2="{BOTTOM}" stroke="#eee"/>'
        )
        if px(x) <= free - TICK_ROOM:
            parts.append(_text(px(x), BOTTOM + 16, text, "middle"))
            free = px(x)
    for i in range(TICKS + 1):
        y = low + (high - low) * i / TICKS
        parts.append(
            f'<line x1="{LEFT}" x2="{RIGHT}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#eee"/>'
        )
        parts.append(_text(LEFT - 6, py(y) + 4, f"{y:.2f}", "end"))
    parts.append(_text((LEFT + RIGHT) / 2, HEIGHT - 8, x_label, "middle"))
    parts.append(
        f'<g transform="rotate(-90 14 {HEIGHT / 2})">{_text(14, HEIGHT / 2, y_label, "middle")}</g>'
    )
    if level is not None:
        y = py(level[0])
        parts.append(
            f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#666" stroke-dasharray="5 4"/>'
        )
        parts.append(_text(RIGHT + 6, y + 4, level[1], "start"))
    for number, line in enumerate(series):
        parts.append(_line(line, PALETTE[number % len(PALETTE)], number, px, py))
    return "".join(parts) + "</svg>"


def _y_range(series: Sequence[Series], level: tuple[float, str] | None) -> tuple[float, float]:
    """Lowest and highest value shown, with a margin."""
    values = [level[0]] if level is not None else []
    for line in series:
        spread = line.spread or [0.0] * len(line.y)
        values += [y + s for y, s in zip(line.y, spread, strict=True)]
        values += [y - s for y, s in zip(line.y, spread, strict=True)]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _line(line: Series, color: str, number: int, px, py) -> str:
    """Band, line, points and legend entry of one series."""
    points = [(px(x), py(y)) for x, y in zip(line.x, line.y, strict=True)]
    band = ""
    if line.spread:
        triples = list(zip(line.x, line.y, line.spread, strict=True))
        edge = [(px(x), py(y + s)) for x, y, s in triples]
        edge += [(px(x), py(y - s)) for x, y, s in reversed(triples)]
        band = f'<polygon points="{_points(edge)}" fill="{color}" opacity="0.12"/>'
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in points)
    height = TOP + 14 + 18 * number
    key = f'<line x1="{RIGHT + 34}" x2="{RIGHT + 50}" y1="{height - 4}" y2="{height - 4}" stroke="{color}" stroke-width="3"/>'
    return (
        f'{band}<polyline points="{_points(points)}" fill="none" stroke="{color}" stroke-width="2"/>'
        f"{dots}{key}{_text(RIGHT + LEGEND, height, line.name, 'start')}"
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    """Coordinates as SVG wants them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    """A label."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
