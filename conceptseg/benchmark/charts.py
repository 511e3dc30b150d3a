"""Line charts of the benchmark's curves, which are points by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import charts


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

    Returns:
        An `<svg>` element; "" without any point.
    """
    lines = [
        charts.Series(name, *zip(*sorted(points), strict=True))
        for name, points in series.items()
        if points
    ]
    marks = sorted(x_labels.items()) if x_labels else None
    return charts.line_chart(lines, x_title, y_title, marks) if lines else ""
