"""Prompt sensitivity: does the mask follow when the prompt names the other object's place?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from .asking import ask, parts_by_place
from .testing import TestCase, Tester
from .two_objects import composed_cases, natural_cases


def prompt_sensitivity(tester: Tester, cases: Sequence[TestCase]) -> list[dict[str, Any]]:
    """One row per pair of objects in different places of an image.

    Each object is asked for by keyword and place. The prompt is followed when each of the two masks
    covers a larger share of its own object than of the other; a network that ignores the place gives
    one mask for both, which cannot.

    Args:
        tester: of a network that takes prompts.
        cases: 2-D test cases; volumes give no row.
    """
    rows = []
    if not cases or cases[0].image.ndim != 3:
        return rows
    for value, keyword in enumerate(tester.network.keywords, start=1):
        sets = {
            "natural": natural_cases(cases, value, keyword),
            "composed": composed_cases(cases, value, keyword),
        }
        for kind, chosen in sets.items():
            for case in chosen:
                rows += [{"set": kind, **row} for row in _pairs(tester, case, value, keyword)]
    return rows


def _pairs(tester: Tester, case: TestCase, value: int, keyword: str) -> list[dict[str, Any]]:
    """Rows of one image."""
    encoded = tester.inferer.encode(case.image.to(tester.device), tester.network)
    parts = parts_by_place(case.image, np.asarray(case.label)[0] == value, keyword)
    masks = {
        place: ask(tester, encoded, keyword, f"{keyword}, located in the {place} of the image").mask
        for place in parts
    }
    rows = []
    for first, second in combinations(parts, 2):
        cover = {
            (asked, seen): float(masks[asked][parts[seen]].mean())
            for asked in (first, second)
            for seen in (first, second)
        }
        followed = (
            cover[first, first] > cover[first, second]
            and cover[second, second] > cover[second, first]
        )
        rows.append(
            {
                "case": case.name,
                "label": keyword,
                "places": f"{first} / {second}",
                "followed": followed,
                "own_covered": (cover[first, first] + cover[second, second]) / 2,
                "other_covered": (cover[first, second] + cover[second, first]) / 2,
            }
        )
    return rows
