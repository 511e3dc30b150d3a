"""Prompt sensitivity: does the mask follow when the prompt names the other object's place?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from ..prediction import EncodedImage
from .asking import ask, parts_by_place
from .testing import TestCase, Tester
from .two_objects import composed_cases, natural_cases


def prompt_sensitivity(tester: Tester, cases: Sequence[TestCase]) -> list[dict[str, Any]]:
    """One row per pair of objects in different places of an image.

    Each object is asked for by keyword and place. The prompt is followed when each of the two masks
    covers a larger share of its own object than of the other; a network that ignores the place gives
    one mask for both, which cannot. "followed" is the network alone; "followed_as_served" is with sizes tried
    and the parts elsewhere removed, as users get it (`ConceptInferer`, `try_sizes` and `keep_to_place`).

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
    plain = tester.inferer.copy(keep_to_place=False, try_sizes=False)
    alone = replace(tester, inferer=plain)
    covers = [_covers(asked, encoded, parts, keyword) for asked in (alone, tester)]
    rows = []
    for first, second in combinations(parts, 2):
        cover = covers[0]
        rows.append(
            {
                "case": case.name,
                "label": keyword,
                "places": f"{first} / {second}",
                "followed": _followed(cover, first, second),
                "own_covered": (cover[first, first] + cover[second, second]) / 2,
                "other_covered": (cover[first, second] + cover[second, first]) / 2,
                "followed_as_served": _followed(covers[1], first, second),
            }
        )
    return rows


def _covers(
    tester: Tester, encoded: EncodedImage, parts: Mapping[str, np.ndarray], keyword: str
) -> dict[tuple[str, str], float]:
    """(place asked for, place seen) -> share of the objects there that the mask covers."""
    masks = {
        place: ask(tester, encoded, keyword, f"{keyword}, located in the {place} of the image").mask
        for place in parts
    }
    return {
        (asked, seen): float(masks[asked][parts[seen]].mean()) for asked in parts for seen in parts
    }


def _followed(cover: Mapping[tuple[str, str], float], first: str, second: str) -> bool:
    """Whether each of two masks covers more of its own object than of the other."""
    return (
        cover[first, first] > cover[first, second] and cover[second, second] > cover[second, first]
    )
