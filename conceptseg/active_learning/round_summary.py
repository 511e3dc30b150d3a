"""What a row of the record says of a test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def summary_of(rows: Sequence[Mapping[str, Any]], keywords: Sequence[str]) -> dict[str, Any]:
    """What a row of the record says of a test.

    Returns:
        "dice" and "hd95_mm" (or "hd95_px") by label, "mean_dice" over cases of the mean over labels,
        "worst_label", and "case_dice", case -> mean over labels.
    """
    dice = {k: float(np.mean([r["dice"] for r in rows if r["label"] == k])) for k in keywords}
    metric = "hd95_mm" if "hd95_mm" in rows[0] else "hd95_px"
    distances = {
        k: [r[metric] for r in rows if r["label"] == k and not math.isnan(r[metric])]
        for k in keywords
    }
    by_case: dict[str, list[float]] = {}
    for row in rows:
        by_case.setdefault(row["case"], []).append(row["dice"])
    cases = {case: round(float(np.mean(values)), 4) for case, values in by_case.items()}
    return {
        "mean_dice": round(float(np.mean(list(cases.values()))), 4),
        "dice": {k: round(v, 4) for k, v in dice.items()},
        "worst_label": min(dice, key=dice.__getitem__),
        metric: {k: round(float(np.mean(v)), 3) if v else None for k, v in distances.items()},
        "case_dice": cases,
    }
