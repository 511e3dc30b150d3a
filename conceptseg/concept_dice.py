"""Dice by what the object is like: size, location and contrast of the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .concepts import MeasuredConcepts

CONCEPT_COLUMNS = ("size", "location", "contrast")
SIZE_COLUMN = "reference_voxels"
_THIRDS = ("smallest third", "middle third", "largest third")


def describe_reference(
    image: np.ndarray, label: np.ndarray, num_labels: int, axes: Sequence[str]
) -> list[dict[str, Any]]:
    """What each label's reference is like, in the words of prompts; empty words where it is absent.

    Args:
        image: (C, *spatial); colour counts as grey here, so that contrast is defined for both.
        label: (*spatial) label map.
        num_labels: K.
        axes: direction in which each spatial index grows.

    Returns:
        K dictionaries with the `CONCEPT_COLUMNS` and "reference_voxels".
    """
    grey = np.asarray(image, dtype=np.float32).mean(axis=0, keepdims=True)
    rows = []
    for value in range(1, num_labels + 1):
        mask = np.asarray(label) == value
        row: dict[str, Any] = dict.fromkeys(CONCEPT_COLUMNS, "")
        row[SIZE_COLUMN] = int(mask.sum())
        if mask.any():
            found = MeasuredConcepts()(grey, mask, "object", axes)
            words = {"size": found.size, "location": found.location, "contrast": found.intensity}
            row |= {name: word or "" for name, word in words.items()}
        rows.append(row)
    return rows


def group_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Dice values by concept and word; sizes also by thirds of each label's references.

    Args:
        rows: of a `CaseTable`, with the columns of `describe_reference`; others are left out.

    Returns:
        "size" | "size within label" | "location" | "contrast" -> word -> Dice values.
    """
    described = [row for row in rows if row.get("size")]
    groups: dict[str, dict[str, list[float]]] = {}
    for name in CONCEPT_COLUMNS:
        words = groups.setdefault(name, {})
        for row in described:
            if row[name]:
                words.setdefault(row[name], []).append(row["dice"])
    thirds = groups.setdefault("size within label", {})
    for label in dict.fromkeys(row["label"] for row in described):
        ordered = sorted(
            (row for row in described if row["label"] == label), key=lambda row: row[SIZE_COLUMN]
        )
        for part, name in zip(np.array_split(np.arange(len(ordered)), 3), _THIRDS, strict=True):
            thirds.setdefault(name, []).extend(ordered[i]["dice"] for i in part)
    return {name: {w: v for w, v in words.items() if v} for name, words in groups.items()}
