"""Simulated rounds on several data sets in one table, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import BASELINES
from .curves import labels_needed, read_rows, shown_curves
from .statistics import Curve, area, compare_together, full_data_dice

TOGETHER = "all together"


@dataclass(frozen=True)
class SetCurves:
    """Finished rounds on one data set.

    Attributes:
        name: of the folder they lie in.
        curves: strategy -> seed -> curve, all labels of the pool among them.
        full: seed -> Dice of all labels after the last round.
    """

    name: str
    curves: Mapping[str, Mapping[int, Curve]]
    full: Mapping[int, float]


def read_set(folder: Path) -> SetCurves:
    """The rounds recorded in `folder`.

    Raises:
        FileNotFoundError: no record there.
    """
    rows = read_rows(folder)
    return SetCurves(folder.name, shown_curves(rows), full_data_dice(rows))


def rounds_table(folders: Sequence[Path]) -> str:
    """A Markdown table: area, differences to chance, Dice and labels needed, for each folder and for all together.

    Raises:
        FileNotFoundError: a folder without a record.
    """
    sets = [read_set(folder) for folder in folders]
    header = [
        "Data",
        "Strategy",
        "Seeds",
        "Area",
        *(f"To `{b}`" for b in BASELINES),
        "Last Dice",
        "95 %",
    ]
    lines = [header, ["---"] * len(header)]
    for one in sets:
        lines += [[one.name, *_row(name, one)] for name in one.curves]
    shared = [name for name in sets[0].curves if all(name in one.curves for one in sets)]
    for name in shared if len(sets) > 1 else ():
        differences = [_difference(name, baseline, sets) for baseline in BASELINES]
        seeds = min(len(one.curves[name]) for one in sets)
        lines.append([TOGETHER, name, str(seeds), "", *differences, "", ""])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(name: str, one: SetCurves) -> list[str]:
    """Cells of one strategy on one data set."""
    curves = one.curves[name].values()
    last = np.mean([curve.case_dice[-1].mean() for curve in curves])
    return [
        name,
        str(len(curves)),
        f"{np.mean([area(curve) for curve in curves]):.3f}",
        *(_difference(name, baseline, [one]) for baseline in BASELINES),
        f"{last:.3f}",
        labels_needed(one.curves[name], one.full),
    ]


def _difference(name: str, baseline: str, sets: Sequence[SetCurves]) -> str:
    """Points of Dice that a strategy's area lies above the baseline's, with the interval."""
    if name == baseline:
        return "-"
    sides = [(one.curves[name], one.curves.get(baseline, {})) for one in sets]
    found = compare_together(sides)
    if found is None:
        return "-"
    points = [100 * value for value in (found.difference, found.low, found.high)]
    return "{:+.1f} ({:.1f}, {:.1f})".format(*points)
