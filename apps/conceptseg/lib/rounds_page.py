"""One page of the annotation rounds: how much people change, how the model grows, what was drawn."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from conceptseg.atomic import write_text_atomic
from conceptseg.charts import Series, line_chart
from conceptseg.report import page_html, table_html

SHOWN = 60  # newest labels with a picture
WINDOW = 5  # labels over which the agreement is averaged


def write_rounds_page(path: Path, events: Sequence[dict[str, Any]], thumbnails: Path) -> None:
    """Write the page; complete or as it was.

    Args:
        path: HTML file.
        events: of the record, oldest first.
        thumbnails: folder of NAME.png pictures.
    """
    saved = list({e["image"]: e for e in events if e["event"] == "saved"}.values())
    models = [e for e in events if e["event"] == "model"]
    body = f"{_facts(saved)}{_agreement(saved)}{_growth(models)}{_table(saved)}{_pictures(saved, thumbnails)}"
    write_text_atomic(path, page_html("Annotation rounds", body))


def _facts(saved: Sequence[dict[str, Any]]) -> str:
    """How many, by whom."""
    clients = sorted({e["client"] for e in saved})
    compared = [e["mean_dice"] for e in saved if e["mean_dice"] is not None]
    mean = f"{sum(compared) / len(compared):.3f} ({len(compared)} labels)" if compared else "n/a"
    lines = {
        "Labels saved": len(saved),
        "Annotators": ", ".join(clients) or "none yet",
        "Dice between proposal and saved label": mean,
    }
    items = "".join(f"<li>{escape(k)}: {escape(str(v))}</li>" for k, v in lines.items())
    return f"<ul>{items}</ul>"


def _agreement(saved: Sequence[dict[str, Any]]) -> str:
    """Curve of the Dice between proposal and saved label."""
    points = [(n, e["mean_dice"]) for n, e in enumerate(saved, 1) if e["mean_dice"] is not None]
    if not points:
        return "<h2>How much is changed</h2><p>No label was drawn over a proposal yet.</p>"
    x, y = (list(part) for part in zip(*points, strict=True))
    smooth = [sum(y[max(0, i + 1 - WINDOW) : i + 1]) / min(i + 1, WINDOW) for i in range(len(y))]
    chart = line_chart(
        [Series("each label", x, y), Series(f"mean of {WINDOW}", x, smooth)],
        "labels saved",
        "Dice, proposal and label",
    )
    return (
        f"<h2>How much is changed</h2>{chart}<p class='note'>1: the proposal was saved as it was. It"
        " rises when the model learns, and falls when strategies find cases it fails on.</p>"
    )


def _growth(models: Sequence[dict[str, Any]]) -> str:
    """Curve of the validation Dice over the labels there were."""
    lines = []
    for name in dict.fromkeys(e["model"] for e in models):
        points = [
            (e["labelled"], e["validation_dice"])
            for e in models
            if e["model"] == name and e["validation_dice"] is not None
        ]
        if points:
            x, y = zip(*sorted(points), strict=True)
            lines.append(Series(name[:22], x, y))
    if not lines:
        return "<h2>Training</h2><p>No training has been finished yet.</p>"
    chart = line_chart(lines, "labels saved", "validation Dice")
    return f"<h2>Training</h2>{chart}"


def _table(saved: Sequence[dict[str, Any]]) -> str:
    """A row per label, newest first."""
    rows = []
    for event in reversed(saved):
        proposal = event["proposal"] or {}
        dice = event["mean_dice"]
        rows.append(
            [
                event["image"],
                event["time"],
                event["client"],
                event["strategy"] or "chosen by hand",
                event["reason"] or "",
                f"{proposal.get('model')} {proposal.get('version')}" if proposal else "none",
                "n/a" if dice is None else f"{dice:.3f}",
            ]
        )
    header = ["Image", "When", "Who", "Strategy", "Why", "Proposed by", "Dice"]
    return f"<h2>Labels</h2>{table_html(header, rows)}"


def _pictures(saved: Sequence[dict[str, Any]], thumbnails: Path) -> str:
    """Pictures of the newest labels."""
    figures = ""
    for event in list(reversed(saved))[:SHOWN]:
        file = thumbnails / f"{event['image']}.png"
        if file.is_file():
            data = base64.b64encode(file.read_bytes()).decode("ascii")
            words = "; ".join(
                f"{label}: {', '.join(v for k, v in values.items() if k != 'number')}"
                for label, values in event["concepts"].items()
                if values.get("number") != "0"
            )
            text = escape(f"{event['image']}: {words}")
            figures += (
                f'<figure style="max-width:14em"><img alt="{text}" src="data:image/png;base64,{data}">'
                f"<figcaption>{text}</figcaption></figure>"
            )
    return f"<h2>Newest labels</h2>{figures or '<p>None yet.</p>'}"
