"""One HTML file that shows an evaluation: tables, and the worst, median and best case."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from .atomic import write_text_atomic
from .evaluation import CaseTable

_METRIC_NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95_mm": "HD95 (mm)",
    "hd95_px": "HD95 (px)",
    "relative_volume_error": "Relative volume error",
}
_CONDITION_NOTES = {
    "text_free": "The image alone, as in use.",
    "text_guided_oracle": "Prompted with concepts measured on the reference mask: an upper bound "
    "for analysis, not a result to expect in use.",
    "no_condition": "The same decoder without any concept.",
}
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 2em auto; max-width: 70em; color: #222;
  background: #fff; padding: 0 1em }
table { border-collapse: collapse; margin: .5em 0 1.5em; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ccc; padding: .25em .7em; text-align: right }
th:first-child, td:first-child, td.name { text-align: left }
figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top; max-width: 21em }
figure img { width: 100%; height: auto }
.note { color: #555 }
"""


def pick_cases(table: CaseTable, condition: str) -> dict[str, str]:
    """Name the worst, the median and the best case by Dice (mean over labels) under a condition.

    Returns:
        "worst", "median" and "best" -> case; fewer with fewer than three cases, {} with none.
    """
    scores = table.case_dice(condition)
    ordered = sorted(scores, key=lambda case: (scores[case], case))
    picks = {"worst": 0, "median": (len(ordered) - 1) // 2, "best": len(ordered) - 1}
    if len(ordered) < 3:
        picks = dict(zip(("worst", "best"), range(len(ordered)), strict=False))
    return {name: ordered[index] for name, index in picks.items()}


def write_report(
    path: str | os.PathLike,
    table: CaseTable,
    overlay_of: Callable[[str, str], bytes | None] | None = None,
    title: str = "Segmentation report",
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a self-contained HTML report: no script, no link, pictures inside the file.

    Args:
        path: HTML file; complete or absent.
        table: the evaluated cases.
        overlay_of: gives the PNG of a case under a condition (``overlay.png_bytes``), or None; it
            is asked for the worst, median and best case of each condition only.
        title: heading.
        facts: lines shown under the heading, such as the data set and the weights.

    Raises:
        ValueError: an empty table.
    """
    if not table.rows:
        raise ValueError("Expected at least one evaluated case, got none. Evaluate cases first.")
    facts = {"Cases": len({row["case"] for row in table.rows}), **(facts or {})}
    lines = "".join(
        f"<li>{escape(str(name))}: {escape(str(value))}</li>" for name, value in facts.items()
    )
    summary = table.summary()
    sections = "".join(
        _condition_html(table, condition, summary[condition], overlay_of) for condition in summary
    )
    write_text_atomic(path, page_html(title, f"<ul>{lines}</ul>\n{sections}{_definitions()}"))


def page_html(title: str, body: str) -> str:
    """Give a whole page around a body of HTML; the title is escaped."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        f"{body}</body></html>\n"
    )


def _condition_html(
    table: CaseTable,
    condition: str,
    summary: Mapping[str, Any],
    overlay_of: Callable[[str, str], bytes | None] | None,
) -> str:
    """Give the section of one condition."""
    figures = ""
    scores = table.case_dice(condition)
    for name, case in pick_cases(table, condition).items() if overlay_of else ():
        png = overlay_of(case, condition)
        if png:
            figures += figure_html(png, f"{name}: {case}, Dice {scores[case]:.3f}")
    rows = table.select(condition)
    return (
        f"<h2>{escape(condition.replace('_', ' '))}</h2>\n"
        f'<p class="note">{escape(_CONDITION_NOTES.get(condition, ""))}</p>\n'
        f"{_summary_table(summary)}\n{_error_detection_html(summary)}{figures}\n"
        f"<details><summary>All {len(rows)} rows</summary>{_row_table(table, rows)}</details>\n"
    )


def error_detection_sentence(found: Mapping[str, Any]) -> str:
    """Say how well the uncertainty finds failed cases, from the "error_detection" of a summary."""
    failed = f"{found['failed']} of {found['n']} cases have a Dice below {found['dice_below']:g}"
    if found["area"] is None:
        return f"{failed}; how well the uncertainty finds such cases cannot be told."
    return (
        f"{failed}; the uncertainty finds them with an area under the curve (ROC) of"
        f" {found['area']:.2f} (0.5 is chance)."
    )


def _error_detection_html(summary: Mapping[str, Any]) -> str:
    """Give the sentence as a paragraph, "" without one."""
    found = summary.get("error_detection")
    return f"<p>{escape(error_detection_sentence(found))}</p>\n" if found else ""


def figure_html(png: bytes, caption: str) -> str:
    """Give a picture with its caption, the data inside the page."""
    data = base64.b64encode(png).decode("ascii")
    text = escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def table_html(header: list[str], rows: list[list[str]]) -> str:
    """Give an HTML table; all cells are escaped."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: Any) -> str:
    """Give a value as a table cell; undefined ones as "n/a"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    is_undefined = value is None or math.isnan(value)
    return "n/a" if is_undefined else f"{value:.3f}"


def _spread(stats: Mapping[str, Any]) -> str:
    """Give "mean ± sd, median m (n)"."""
    if not stats["n"]:
        return "n/a"
    sd = "" if stats["sd"] is None else f" ± {stats['sd']:.3f}"
    return f"{stats['mean']:.3f}{sd}, median {stats['median']:.3f} (n = {stats['n']})"


def _summary_table(summary: Mapping[str, Any]) -> str:
    """Give the table of one condition, a row per label."""
    labels = summary["labels"]
    metrics = [name for name in _METRIC_NAMES if any(name in label for label in labels.values())]
    header = ["Label", *(_METRIC_NAMES[name] for name in metrics), "Found", "False alarms"]
    rows = []
    for keyword, label in labels.items():
        counts = label["presence"]
        present = counts["true_positive"] + counts["false_negative"]
        absent = counts["false_positive"] + counts["true_negative"]
        rows.append(
            [keyword]
            + [_spread(label[name]) if name in label else "n/a" for name in metrics]
            + [f"{counts['true_positive']} of {present}", f"{counts['false_positive']} of {absent}"]
        )
    if len(labels) > 1:
        rows.append(["mean over labels", _spread(summary["dice_over_labels"])])
        rows[-1] += [""] * (len(header) - len(rows[-1]))
    return table_html(header, rows)


def _row_table(table: CaseTable, rows: list[dict[str, Any]]) -> str:
    """Give the table of all rows of one condition."""
    metrics = table.used_metrics()
    header = ["Case", "Label", *(_METRIC_NAMES[name] for name in metrics), "Present", "Predicted"]
    keys = [*metrics, "presence_true", "presence_pred"]
    return table_html(
        header,
        [[row["case"], row["label"], *(_number(row.get(key)) for key in keys)] for row in rows],
    )


def _definitions() -> str:
    """Give the paragraph that says how to read the numbers."""
    return (
        '<p class="note">Dice and IoU are 1 where reference and prediction are both empty. HD95 '
        "needs both and is undefined otherwise, so a missed object lowers Dice but is not in HD95; "
        "its n says how many cases it covers. Relative volume error: (prediction - reference) / "
        "reference. Overlays: coloured area and line are the prediction, the dashed line is the "
        "reference; for volumes, the slice with the largest reference area.</p>"
    )
