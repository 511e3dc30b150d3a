"""Calibration: does the reported uncertainty rank the cases by their error?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

FAILED_BELOW = 0.5  # Dice


def error_detection_area(
    uncertainty: Mapping[str, float], dice: Mapping[str, float], failed_below: float = FAILED_BELOW
) -> float | None:
    """Area under the curve of finding failed cases by their uncertainty (ROC).

    It is the probability that a failed case is less certain than one that did not fail; 0.5 is chance.

    Args:
        uncertainty: of each case, larger is less certain.
        dice: of the same cases.
        failed_below: cases below it failed.

    Returns:
        The area, or None when no case failed or all did.
    """
    cases = sorted(dice)
    failed = np.array([dice[case] < failed_below for case in cases])
    positive, negative = int(failed.sum()), int((~failed).sum())
    if not positive or not negative:
        return None
    ranks = rankdata([uncertainty[case] for case in cases])
    return float((ranks[failed].sum() - positive * (positive + 1) / 2) / (positive * negative))


def error_detection(
    uncertainty: Mapping[str, float], dice: Mapping[str, float]
) -> dict[str, float | int | None]:
    """How well the uncertainty finds failed cases, with the counts behind it.

    Args:
        uncertainty: of each case that has one, larger is less certain.
        dice: of at least these cases; others are left out.

    Returns:
        "dice_below" (a case below it failed), "n" cases, "failed" of them, and the "area" of
        `error_detection_area`.
    """
    judged = {case: dice[case] for case in uncertainty}
    return {
        "dice_below": FAILED_BELOW,
        "n": len(judged),
        "failed": sum(value < FAILED_BELOW for value in judged.values()),
        "area": error_detection_area(uncertainty, judged),
    }
