"""The prompt analyses of recorded runs: run once each, recorded beside the run, tabled per group."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..atomic import write_text_atomic
from ..calibration import FAILED_BELOW, error_detection_area
from ..results import write_table
from .absence import absent_class
from .comparison import Group
from .execution import Places, Run
from .matrix import Matrix
from .records import WEIGHTS, RunStore
from .robustness import VARIANTS, prompt_robustness
from .sensitivity import prompt_sensitivity
from .tables import points
from .testing import TestCase, Tester

logger = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
ANALYSES: dict[str, Callable[[Tester, Sequence[TestCase]], Rows]] = {
    "sensitivity": prompt_sensitivity,
    "absence": absent_class,
    "robustness": prompt_robustness,
}


def analyse(
    matrix: Matrix, places: Places, repeat: bool = False, names: Sequence[str] = tuple(ANALYSES)
) -> None:
    """Ask every recorded network whose weights were kept; writes a CSV and a JSON per analysis.

    Args:
        matrix: its runs.
        places: folders.
        repeat: also those analysed before.
        names: of the analyses.
    """
    store = RunStore(places.output_dir)
    specs = [
        s for s in matrix.runs() if (store.folder(s.key) / WEIGHTS).exists() and store.read(s.key)
    ]
    logger.info("%d runs with weights", len(specs))
    for count, spec in enumerate(specs, start=1):
        folder = store.folder(spec.key)
        missing = [n for n in names if repeat or not (folder / f"{n}.json").exists()]
        if not missing:
            continue
        tester = Run(matrix, spec, places).tester(("text_free",))
        cases = list(tester.cases())
        for name in missing:
            rows = ANALYSES[name](tester, cases)
            if rows:
                write_table(folder / f"{name}.csv", rows)
            summary = SUMMARIES[name](rows)
            write_text_atomic(folder / f"{name}.json", json.dumps(summary, indent=1) + "\n")
        logger.info("%d of %d analysed: %s", count, len(specs), spec.key)


def summarize_sensitivity(rows: Rows) -> dict[str, Any]:
    """Share of pairs in which the prompt was followed, by set, over all and as served; None without pairs."""
    sets = dict.fromkeys(row["set"] for row in rows)
    shares = {name: _share(r["followed"] for r in rows if r["set"] == name) for name in sets}
    counts = {f"{name}_pairs": sum(r["set"] == name for r in rows) for name in sets}
    served = _share(r["followed_as_served"] for r in rows)
    all_pairs = {
        "all": _share(r["followed"] for r in rows),
        "as_served": served,
        "pairs": len(rows),
    }
    return {**all_pairs, **shares, **counts}


def summarize_absence(rows: Rows) -> dict[str, Any]:
    """Specificity by kind of prompt: mask empty and presence below threshold; and mask empty alone."""
    prompts = list(dict.fromkeys(row["prompt"] for row in rows))
    silent = {n: _share(r["silent"] for r in rows if r["prompt"] == n) for n in prompts}
    empty = {f"{n}_empty": _share(r["empty"] for r in rows if r["prompt"] == n) for n in prompts}
    guided = _share(r["silent"] for r in rows if r["prompt"] != "text_free")
    return {
        "guided": guided,
        "images": len({(r["case"], r["label"]) for r in rows}),
        **silent,
        **empty,
    }


def summarize_robustness(rows: Rows) -> dict[str, Any]:
    """Mean Dice, its difference to text-free on the same cases, share flagged and refused, by variant."""
    free = {(r["case"], r["label"]): r["dice"] for r in rows if r["variant"] == "text_free"}
    summary = {}
    for name in ("text_free", *VARIANTS):
        chosen = [r for r in rows if r["variant"] == name]
        if chosen:
            differences = [r["dice"] - free[r["case"], r["label"]] for r in chosen]
            summary[name] = {
                "dice": float(np.mean([r["dice"] for r in chosen])),
                "against_text_free": float(np.mean(differences)),
                "flagged": _share(r["flagged"] for r in chosen),
                "refused": _share(r["refused"] for r in chosen),
                "n": len(chosen),
            }
    return summary


SUMMARIES = {
    "sensitivity": summarize_sensitivity,
    "absence": summarize_absence,
    "robustness": summarize_robustness,
}


def _share(values: Any) -> float | None:
    """Share of true values; None without any."""
    values = list(values)
    return sum(map(bool, values)) / len(values) if values else None


def analysis_tables(group: Group, store: RunStore) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of the analyses of a group, means over runs; recorded ones only."""
    tables = [_calibration_table(group)]
    for entry in group.entries.values():
        found = {name: _read(entry.records, store, name) for name in ANALYSES}
        rows = [
            [f"followed, {key.replace('_', ' ')}", points(value), ""]
            for key, value in _means(found["sensitivity"]).items()
            if not key.endswith("pairs")
        ]
        counts = _means(found["sensitivity"]).get("pairs")
        rows = [[a, b, f"{counts:.0f} pairs in all"] for a, b, _ in rows] if counts else []
        absence = _means(found["absence"])
        rows += [
            [f"absent, {key.replace('_', ' ')}", points(value), f"{absence['images']:.0f} images"]
            for key, value in absence.items()
            if key != "images"
        ]
        if rows:
            header = ["Prompt followed, or absence kept", "Share", "Of"]
            tables.append(
                (f"{entry.title}: prompts for places and for what is absent", header, rows)
            )
        if found["robustness"]:
            tables.append(
                (f"{entry.title}: quality of the prompt", *_robustness(found["robustness"]))
            )
    return [table for table in tables if table[2]]


def _read(records: Rows, store: RunStore, name: str) -> Rows:
    """Recorded summaries of one analysis."""
    paths = [store.folder(record["key"]) / f"{name}.json" for record in records]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def _means(summaries: Rows) -> dict[str, float]:
    """Mean over runs of every figure that is one."""
    keys = dict.fromkeys(key for summary in summaries for key in summary)
    values = {key: [s[key] for s in summaries if s.get(key) is not None] for key in keys}
    return {key: float(np.mean(of_runs)) for key, of_runs in values.items() if of_runs}


def _robustness(summaries: Rows) -> tuple[list[str], list[list[str]]]:
    """Header and a row per variant."""
    rows = []
    for name in ("text_free", *VARIANTS):
        found = [summary[name] for summary in summaries if name in summary]
        if found:
            means = _means(found)
            rows.append(
                [
                    name.replace("_", " "),
                    points(means["dice"]),
                    points(means["against_text_free"], sign=True),
                    f"{means['flagged']:.0%}",
                    f"{means['refused']:.0%}",
                ]
            )
    return ["Prompt", "Dice", "Against text-free", "Flagged", "Refused"], rows


def _calibration_table(group: Group) -> tuple[str, list[str], list[list[str]]]:
    """Area under the error-detection curve of every contestant."""
    rows = []
    for entry in group.entries.values():
        areas = []
        for seed, dice in entry.scores["dice"][entry.condition].items():
            uncertain = entry.scores.get("uncertainty", {}).get(entry.condition, {}).get(seed)
            if uncertain:
                area = error_detection_area(uncertain, dice)
                areas.append(math.nan if area is None else area)
        known = [area for area in areas if not math.isnan(area)]
        if known:
            rows.append([entry.title, points(float(np.mean(known))), str(len(known))])
    header = ["Contestant", f"Area, Dice below {FAILED_BELOW}", "Seeds"]
    return "Uncertainty finds failed cases (area under the error-detection curve)", header, rows
