"""One page of simulated rounds: curves, and a table that says where nothing was gained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import write_text_atomic
from ..charts import Series, line_chart
from ..report import page_html, table_html
from . import BASELINES, STRATEGIES
from .journal import Journal
from .rounds import SETTINGS
from .statistics import (
    MIN_SEEDS,
    TARGET_SHARE,
    Comparison,
    Curve,
    area,
    ceiling_curves,
    compare,
    full_data_dice,
    read_curves,
    share_needed,
)

SHOWN_REASONS = 4  # per strategy
CEILING = "all labels"


def write_curves_page(folder: Path) -> Path:
    """Write rounds.html from rounds.jsonl and settings.json in `folder`; gives its path.

    Raises:
        FileNotFoundError: no record there.
    """
    rows = read_rows(folder)
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    title = f"Annotation rounds on {settings['data']}, simulated"
    page = folder / "rounds.html"
    write_text_atomic(
        page,
        page_html(title, _facts(settings, rows) + _body(rows)),
    )
    return page


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of rounds.jsonl in `folder`.

    Raises:
        FileNotFoundError: no record there.
    """
    rows = Journal(folder / "rounds.jsonl").read()
    if not rows:
        raise FileNotFoundError(
            f"expected a record of rounds in '{folder}', got none; run the simulation first"
        )
    return rows


def shown_curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Curve]]:
    """Seed -> curve of every strategy that went through all rounds, and last of all labels, if judged."""
    curves, ceiling = read_curves(rows), ceiling_curves(rows)
    found = {name: curves[name] for name in STRATEGIES if name in curves}
    return found | ({CEILING: ceiling} if found and ceiling else {})


def labels_needed(curves: Mapping[int, Curve], full: Mapping[int, float]) -> str:
    """In words, `share_needed`."""
    if not full:
        return "n/a"
    share = share_needed(curves, full)
    last = next(iter(curves.values())).shares[-1]
    return f"> {100 * last:.0f} %" if share is None else f"{100 * share:.1f} %"


def _facts(settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """What was run."""
    form = "short form (small images and network)" if settings["short"] else "long form"
    lines = {
        "Bundle": f"{settings['bundle']}, {form}, {settings['iterations']} iterations per round",
        "Cases": f"{settings['pool']} to pick from, {settings['test']} to test",
        "Labels": ", ".join(settings["keywords"]),
        "Seeds": len({row["seed"] for row in rows}),
        "Config values": settings["overrides"] or "as in the bundle",
    }
    items = "".join(f"<li>{escape(k)}: {escape(str(v))}</li>" for k, v in lines.items())
    return (
        f"<ul>{items}</ul>\n<p class='note'>The annotator is an oracle: picked cases get their"
        " reference labels. All strategies of a seed share the first batch, the first weights and"
        " the number of iterations; each round goes on from the weights of the one before. All"
        " masks are text-free.</p>\n"
    )


def _body(rows: Sequence[Mapping[str, Any]]) -> str:
    """Chart and tables."""
    curves = shown_curves(rows)
    full = full_data_dice(rows)
    if not curves:
        return "<p>No strategy has gone through all rounds yet.</p>"
    names = [name for name in curves if name != CEILING]
    series, ticks = [], {}
    for name, by_seed in curves.items():
        shares = next(iter(by_seed.values())).shares
        dice = np.stack([c.case_dice.mean(axis=1) for c in by_seed.values()])
        spread = dice.std(axis=0, ddof=1).tolist() if len(dice) > 1 else ()
        x = np.log2(shares).tolist()
        series.append(Series(name, x, dice.mean(axis=0).tolist(), spread))
        ticks |= {position: f"{100 * s:.3g} %" for position, s in zip(x, shares, strict=True)}
    level = (float(np.mean(list(full.values()))), "all") if full else None
    chart = line_chart(
        series,
        "annotated share of the pool",
        "Dice on the test cases",
        sorted(ticks.items()),
        level,
    )
    return (
        f"{chart}\n<p class='note'>Lines: mean over seeds; bands: one standard deviation; dashed:"
        " the whole pool after the last round.</p>\n"
        f"<h2>Comparison</h2>\n{_comparison(names, curves, full)}\n"
        f"<h2>After the last round</h2>\n{_last_round(names, curves)}\n"
        f"<h2>Reasons given</h2>\n{_reasons(names, curves)}"
    )


def _comparison(
    names: Sequence[str],
    curves: Mapping[str, Mapping[int, Curve]],
    full: Mapping[int, float],
) -> str:
    """Areas, intervals and labels needed; and what all labels would bring, the room for any choice."""
    needed = f"labels for {100 * TARGET_SHARE:.0f} % of full-data Dice"
    header = ["Strategy", "seeds", "area under the curve", needed]
    for baseline in BASELINES:
        header += [f"minus {baseline} (95 % interval)", ""]
    body = []
    for name in names:
        needed_share = labels_needed(curves[name], full)
        row = [name, str(len(curves[name])), _mean_area(curves[name]), needed_share]
        for baseline in BASELINES:
            found = None if name == baseline else compare(curves[name], curves.get(baseline, {}))
            row += _difference(found, found.verdict(baseline)) if found else ["", ""]
        body.append(row)
    note = (
        "Area: mean Dice over the logarithm of the budget. Intervals: seeds and test"
        f" cases drawn again in pairs. Below {MIN_SEEDS} seeds nothing is claimed."
    )
    if CEILING in curves:
        ceiling = curves[CEILING]
        row = [CEILING, str(len(ceiling)), _mean_area(ceiling), ""]
        for baseline in BASELINES:
            found = compare(ceiling, curves.get(baseline, {}))
            row += _difference(found, "the room") if found else ["", ""]
        body.append(row)
        note += (
            f" {CEILING.capitalize()}: the same rounds on the whole pool, from the shared first point"
            " on. How far that is above a strategy is about the room that a better choice has in rounds"
            " of this length; a well mixed part can also be better than the whole."
        )
    return f"{table_html(header, body)}<p class='note'>{note}</p>"


def _mean_area(curves: Mapping[int, Curve]) -> str:
    """Mean and spread over seeds."""
    areas = [area(curve) for curve in curves.values()]
    return f"{np.mean(areas):.4f}" + (f" ± {np.std(areas, ddof=1):.4f}" if len(areas) > 1 else "")


def _difference(found: Comparison, word: str) -> list[str]:
    """Two cells: the difference with its interval, and what it means."""
    return [f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})", word]


def _last_round(names: Sequence[str], curves: Mapping[str, Mapping[int, Curve]]) -> str:
    """Dice and HD95 by label, and how much was drawn."""
    body = []
    for name in names:
        rows = [curve.rows[-1] for curve in curves[name].values()]
        metric = "hd95_mm" if "hd95_mm" in rows[0] else "hd95_px"
        for label in rows[0]["dice"]:
            distances = [row[metric][label] for row in rows if row[metric][label] is not None]
            body.append(
                [
                    f"{name}: {label}",
                    f"{np.mean([row['dice'][label] for row in rows]):.3f}",
                    f"{np.mean(distances):.2f}" if distances else "n/a",
                    f"{sum(row['worst_label'] == label for row in rows)} of {len(rows)}",
                    f"{np.mean([row['foreground_annotated'] for row in rows]):.0f}",
                ]
            )
    unit = "mm" if metric == "hd95_mm" else "px of the network's grid"
    header = ["Strategy and label", "Dice", f"HD95 ({unit})", "worst label", "object voxels drawn"]
    return table_html(header, body)


def _reasons(names: Sequence[str], curves: Mapping[str, Mapping[int, Curve]]) -> str:
    """The first reasons of the last round of the first seed."""
    body = []
    for name in names:
        seed, curve = min(curves[name].items())
        for pick in curve.rows[-1]["picked"][:SHOWN_REASONS]:
            body.append([name, f"seed {seed}, case {pick['name']}", pick["reason"]])
    return table_html(["Strategy", "Case", "Why"], body)
