"""Robustness to the quality of a prompt: short, long, incomplete, wrong or misspelt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..concepts import Concepts, concepts_to_sentence
from ..evaluation import evaluate_case
from .asking import ask, describe
from .testing import TestCase, Tester

VARIANTS = ("original", "shortened", "over_long", "location_missing", "contradictory", "misspelt")
_WRAPPING = (
    "Please find and outline in this picture the area of the {}: it is the only finding that is "
    "seen in the image, show me all of it with its position, size and shape as it is located there"
)


def prompt_robustness(tester: Tester, cases: Sequence[TestCase]) -> list[dict[str, Any]]:
    """Rows of Dice, presence, refusal and warning per case, label and variant, text-free beside them.

    The original is the sentence of the concepts measured on the reference (oracle); labels that are
    absent are left out, and variants that cannot be made (no empty place to name).
    """
    rows = []
    for case in cases:
        encoded = tester.inferer.encode(case.image.to(tester.device), tester.network)
        for value, keyword in enumerate(tester.network.keywords, start=1):
            mask = np.asarray(case.label)[0] == value
            if not mask.any():
                continue
            for name, prompt in {"text_free": None, **variants(case.image, mask, keyword)}.items():
                answer = ask(tester, encoded, keyword, prompt)
                (score,) = evaluate_case(answer.mask[None], mask[None], [keyword])
                low = answer.presence < getattr(tester.network, "presence_threshold", 0.5)
                rows.append(
                    {
                        "case": case.name,
                        "label": keyword,
                        "variant": name,
                        "dice": score["dice"],
                        "presence": round(answer.presence, 4),
                        "refused": answer.refused,
                        "flagged": prompt is not None and (answer.warned or low),
                        "prompt": prompt or "",
                    }
                )
    return rows


def variants(image: Tensor, mask: np.ndarray, keyword: str) -> dict[str, str]:
    """Variant -> prompt for the objects of `mask` (*spatial) in `image` (C, *spatial)."""
    concepts = describe(image, mask, keyword)
    original = concepts_to_sentence(concepts)
    prompts = {
        "original": original,
        "shortened": concepts_to_sentence(Concepts(keyword=keyword, location=concepts.location)),
        "over_long": _WRAPPING.format(original),
        "location_missing": concepts_to_sentence(concepts, drop=["location"]),
        "misspelt": misspell(original),
    }
    wrong = empty_place(image, mask, keyword)
    if wrong is not None:
        contradiction = concepts.model_copy(update={"location": wrong})
        prompts["contradictory"] = concepts_to_sentence(contradiction)
    return {name: prompts[name] for name in VARIANTS if name in prompts}


def misspell(sentence: str) -> str:
    """The sentence with the second and third letter of every longer word but the first exchanged."""

    def wrong(word: str) -> str:
        return word[0] + word[2] + word[1] + word[3:] if len(word) > 3 and word.isalpha() else word

    return " ".join(wrong(word) for word in sentence.split(" "))


def empty_place(image: Tensor, mask: np.ndarray, keyword: str) -> str | None:
    """The place farthest from the objects whose cell of the 3 x 3 grid holds none; None without one.

    Of a volume, the grid lies in the plane that its location words speak of.
    """
    flat = mask if mask.ndim == 2 else mask.any(axis=2)
    centre = np.argwhere(flat).mean(axis=0) / np.array(flat.shape)
    farthest, distance = None, -1.0
    rows, columns = (np.array_split(np.arange(n), 3) for n in flat.shape)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            away = float(np.hypot(*((np.array([i, j]) + 0.5) / 3 - centre)))
            if flat[np.ix_(row, column)].any() or away <= distance:
                continue
            cell = np.zeros(flat.shape, dtype=bool)
            cell[np.ix_(row, column)] = True
            whole = cell if mask.ndim == 2 else np.repeat(cell[..., None], mask.shape[2], axis=2)
            farthest, distance = whole, away
    if farthest is None:
        return None
    return describe(image, farthest, keyword).location
