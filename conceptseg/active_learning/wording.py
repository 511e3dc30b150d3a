"""Concepts of a case in the words an annotator reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..concepts import ATTRIBUTES
from .records import ATTRIBUTE_NAMES, UNKNOWN

ABSENT = ATTRIBUTES["number"].index("0")
_NUMBER = ATTRIBUTE_NAMES.index("number")
_ORDER = ("number", "size", "shape", "color", "intensity", "location", "laterality", "level")
_NUMBERS = {
    "0": "none",
    "1": "a single one",
    "2": "two of them",
    "3": "three of them",
    "many": "many",
}
_INTENSITIES = {"dark": "darker than around", "isointense": "low contrast", "bright": "bright"}


def value_words(attribute: int, value: int) -> str:
    """One attribute value in words.

    Args:
        attribute: index in `ATTRIBUTE_NAMES`.
        value: index of its value in `ATTRIBUTES`.
    """
    name = ATTRIBUTE_NAMES[attribute]
    word = ATTRIBUTES[name][value]
    if name == "number":
        return _NUMBERS[word]
    if name == "intensity":
        return _INTENSITIES[word]
    if name == "location":
        return word.replace("top", "upper").replace("bottom", "lower")
    if name == "laterality":
        return f"{word} side"
    return f"{word} level" if name == "level" else word


def combination_words(values: Sequence[tuple[int, int]]) -> str:
    """Attribute values (attribute, value) as a list of words, such as "small, lower left"."""
    order = {ATTRIBUTE_NAMES.index(name): place for place, name in enumerate(_ORDER)}
    ordered = sorted(values, key=lambda pair: order[pair[0]])
    return ", ".join(value_words(attribute, value) for attribute, value in ordered)


def case_words(concepts: np.ndarray, keyword: str, only: Sequence[str] | None = None) -> str:
    """All known concepts (A,) of one label, such as "polyp: small, round, lower left"."""
    if concepts[_NUMBER] == ABSENT:
        return f"no {keyword} seen"
    known = [
        (i, int(value))
        for i, value in enumerate(concepts)
        if value != UNKNOWN and (only is None or ATTRIBUTE_NAMES[i] in only)
    ]
    return f"{keyword}: {combination_words(known)}" if known else keyword
