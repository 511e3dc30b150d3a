"""The benchmark's report: one HTML file and one Markdown file of everything recorded."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from ..atomic import write_text_atomic
from ..report import page_html, table_html
from .analyses import analysis_tables
from .charts import line_chart
from .comparison import Group, mean_curve, read_groups
from .execution import Places, Run
from .figures import group_figures
from .matrix import Matrix, RunSpec
from .records import RunStore
from .speed import read_speed
from .tables import condition_table, contestant_table, markdown
from .tuning import read_rates

logger = logging.getLogger(__name__)

HTML, MARKDOWN = "report.html", "report.md"
_HOW = (
    "Every contestant had the same images, split, resolution, augmentation, seeds and budget; the "
    "checkpoint was chosen on selection cases of the training pool, and every test case was judged "
    "once. The difference to the best baseline, or of a trial to the contestant it changes, is a paired "
    "bootstrap over seeds and cases (95 %). Conditions called oracle "
    "are told what was measured on the reference mask: analysis, not a result to expect in use."
)


def write_reports(matrix: Matrix, places: Places, figures: bool = True) -> None:
    """Write report.html and report.md of all recorded runs on the matrix's data sets.

    Args:
        matrix: gives the data sets, and how their cases are loaded for the overlays.
        places: folders.
        figures: draw overlays; needs the images.

    Raises:
        ValueError: nothing recorded yet.
    """
    store = RunStore(places.output_dir)
    groups = read_groups(store, list(matrix.data_sets))
    if not groups:
        raise ValueError(
            f"expected recorded runs in '{places.output_dir}', got none; run some first"
        )
    speed = read_speed(places.output_dir)
    body, text = [], ["# Accuracy benchmark\n", _HOW + "\n"]
    for group in groups:
        sections = _tables(group, speed.get(group.data_set, {}).get("ratio"), store)
        body.append(f"<h2>{escape(group.title)}</h2>")
        text.append(f"## {group.title}\n")
        for title, header, rows in sections:
            body += [f"<h3>{escape(title)}</h3>", table_html(header, rows)]
            text += [f"**{title}**\n", markdown(header, rows)]
        body.append(_curves(group))
        if figures:
            body.append(_figures(group, matrix, places, store))
    body += [_data_curves(groups), *_appendix(places, store)]
    write_text_atomic(
        places.output_dir / HTML,
        page_html("Accuracy benchmark", "\n".join([f"<p>{_HOW}</p>", *body])),
    )
    write_text_atomic(places.output_dir / MARKDOWN, "\n".join(text))
    logger.info("wrote %s and %s", places.output_dir / HTML, places.output_dir / MARKDOWN)


def _tables(
    group: Group, ratio: dict[str, float] | None, store: RunStore
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of every table of a group."""
    tables = [("Contestants", *contestant_table(group, ratio))]
    for entry in group.entries.values():
        if len(entry.scores["dice"]) > 1:
            tables.append((f"{entry.title}: conditions", *condition_table(entry)))
    return [*tables, *analysis_tables(group, store)]


def _curves(group: Group) -> str:
    """Learning curves on the selection cases."""
    charts = []
    for over, title in (("images", "images seen"), ("seconds", "seconds of training")):
        series = {e.title: mean_curve(e.records, over) for e in group.entries.values()}
        charts.append(line_chart(series, title, "Dice on the selection cases"))
    return f"<h3>Learning curves</h3>{''.join(charts)}"


def _data_curves(groups: Sequence[Group]) -> str:
    """Test Dice against the fraction of the data, for every data set and budget with several."""
    parts = []
    for place in dict.fromkeys((g.data_set, g.budget, g.amount) for g in groups):
        same = [g for g in groups if (g.data_set, g.budget, g.amount) == place]
        if len({g.fraction for g in same}) < 2:
            continue
        series: dict[str, list[tuple[float, float]]] = {}
        for group in same:
            for entry in group.entries.values():
                value = (math.log10(group.fraction), entry.mean())
                series.setdefault(entry.title, []).append(value)
        marks = {math.log10(g.fraction): f"{100 * g.fraction:g} %" for g in same}
        chart = line_chart(series, "training cases", "test Dice", marks)
        parts.append(f"<h2>{escape(place[0])}, {place[2]:g} {escape(place[1])}: data</h2>{chart}")
    return "".join(parts)


def _figures(group: Group, matrix: Matrix, places: Places, store: RunStore) -> str:
    """Overlays of the best of ours, or of the best there is; a remark where the images are missing."""
    ours = [e for e in group.entries.values() if e.ours] or list(group.entries.values())
    entry = max(ours, key=lambda e: e.mean())

    def dataset_of(record: dict[str, Any]) -> Any:
        keys = ("data_set", "contestant", "fraction", "seed", "budget", "amount", "fold")
        spec = RunSpec(**{key: record[key] for key in keys})
        any_contestant = next(iter(matrix.contestants.values()))
        held = {**matrix.contestants, spec.contestant: any_contestant}
        known = Matrix(held, matrix.data_sets, threads=matrix.threads)
        return Run(known, spec, places).test_dataset()

    try:
        return f"<h3>Cases</h3>{group_figures(group, entry, store, dataset_of)}"
    except (FileNotFoundError, ValueError) as error:
        logger.warning("no overlays for %s: %s", group.title, error)
        return f"<p>No overlays: {escape(str(error))}</p>"


def _appendix(places: Places, store: RunStore) -> list[str]:
    """Speed, learning rates and failed runs."""
    parts = []
    speed = read_speed(places.output_dir)
    rows = [
        [
            name,
            contestant,
            f"{ms:.1f}",
            f"{one['ratio'][contestant]:.2f}",
            f"{one['parameters'][contestant]:,}",
        ]
        for name, one in speed.items()
        for contestant, ms in one["milliseconds"].items()
    ]
    if rows:
        header = ["Data set", "Contestant", "ms per image, CPU", "Times UNet", "Parameters"]
        parts += ["<h2>Inference time, interleaved in one run</h2>", table_html(header, rows)]
    rates = read_rates(places.output_dir)
    rows = [
        [key, rate, f"{score:.3f}"] for key, tried in rates.items() for rate, score in tried.items()
    ]
    if rows:
        header = ["Contestant", "Learning rate", "Dice on the selection cases"]
        parts += ["<h2>Learning rates tried</h2>", table_html(header, rows)]
    failed = [r for r in store.records() if r["status"] == "failed"]
    if failed:
        rows = [[r["key"], r["error"].strip().splitlines()[-1]] for r in failed]
        parts += ["<h2>Runs that failed</h2>", table_html(["Run", "Error"], rows)]
    return parts
