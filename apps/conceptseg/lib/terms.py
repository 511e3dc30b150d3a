"""Colours and DICOM codes of labels, the same in every answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
from pydicom.sr.coding import Code

from conceptseg.dicom_terms import codes_of
from conceptseg.overlay import PALETTE

# Label names of the model that answers the request; MONAI Label does not pass on which one does.
answering: ContextVar[tuple[str, ...]] = ContextVar("answering", default=())


def color_of(value: int) -> list[int]:
    """RGB in 0..255 of label `value` (1..K); neighbours differ for every kind of colour vision."""
    text = PALETTE[(value - 1) % len(PALETTE)].lstrip("#")
    return [int(text[i : i + 2], 16) for i in (0, 2, 4)]


def label_info(keywords: Sequence[str]) -> list[dict[str, Any]]:
    """Name, value, colour and codes of every label, for clients and for DICOM SEG."""
    entries = []
    for value, name in enumerate(keywords, start=1):
        category, kind = codes_of(name)
        entries.append(
            {
                "name": name,
                "idx": value,
                "color": color_of(value),
                "description": f"{name}, by concept-prompted segmentation",
                "category": _triplet(category),
                "type": _triplet(kind),
            }
        )
    return entries


def own_names(keywords: Sequence[str]) -> list[dict[str, Any]]:
    """Name and value of every label, as a client sends them with a label that it saves."""
    return [{"name": name, "idx": value} for value, name in enumerate(keywords, start=1)]


def _triplet(code: Code) -> dict[str, str]:
    """A code as dcmqi's templates write it."""
    return {
        "CodeValue": code.value,
        "CodingSchemeDesignator": code.scheme_designator,
        "CodeMeaning": code.meaning,
    }


def segments_present(
    mask: np.ndarray, given: Sequence[dict[str, Any]], keywords: Sequence[str]
) -> list[dict[str, Any]]:
    """One entry per value present in `mask`, in ascending order, each with its own name and colour.

    MONAI Label names the n-th segment *present* after the n-th entry; so the entries of absent
    values are left out, and none is shifted.

    Args:
        mask: label map, 0 for background.
        given: the client's `label_info`; an entry is for value `idx`, or its position plus 1.
        keywords: names by value where the client gives none.
    """
    own = {entry["idx"]: entry for entry in label_info(keywords)}
    by_name = {entry["name"]: entry for entry in own.values()}
    sent = {}
    for position, entry in enumerate(given or [], start=1):
        sent[int(entry.get("idx") or entry.get("labelID") or position)] = entry
    result = []
    for value in (int(v) for v in np.unique(mask) if v):
        entry = sent.get(value, {})
        name = entry.get("name") or own.get(value, {}).get("name") or f"label {value}"
        base = by_name.get(name) or label_info([name])[0]
        color = entry.get("color") or base["color"]
        result.append(
            {
                "name": name,
                "description": entry.get("description") or base["description"],
                "color": list(color)[:3],
                "model_name": (given or [{}])[0].get("model_name", "conceptseg"),
                "segmentAttribute": {
                    "labelID": value,
                    "SegmentLabel": name,
                    "SegmentDescription": name,
                    "SegmentAlgorithmType": "SEMIAUTOMATIC",
                    "SegmentAlgorithmName": "conceptseg",
                    "SegmentedPropertyCategoryCodeSequence": base["category"],
                    "SegmentedPropertyTypeCodeSequence": base["type"],
                    "recommendedDisplayRGBValue": [int(x) for x in list(color)[:3]],
                },
            }
        )
    return result
