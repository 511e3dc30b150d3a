"""Concepts of a prepared case: one line per label."""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np

from ..concepts import MeasuredConcepts
from ..slices import RAS_DIRECTIONS
from .card import DatasetCard
from .case import LoadedCase

PICTURE_DIRECTIONS = ("right", "bottom")


def concept_lines(image_name: str, case: LoadedCase, card: DatasetCard) -> list[dict[str, Any]]:
    """Measure the concepts of every label of a case.

    The lines are those of a concept file: a description whose every value names its source, so that
    further sources can add to it.

    Volumes are turned to RAS first, so that the words are the patient's directions as the file's
    header states them.

    Args:
        image_name: of the prepared image, below the data set's folder.
        case: its arrays.
        card: of the data set.

    Returns:
        For each keyword: case, keyword, kind, description, share of the image, settings.
    """
    image, label, directions, spacing = _oriented(case, card)
    source = MeasuredConcepts()
    lines = []
    for value, keyword in enumerate(card.keywords, start=1):
        mask = label == value
        known = source(image, mask, keyword, directions, spacing).model_dump(exclude_none=True)
        del known["keyword"]
        values = {name: {"value": said, "source": "measured"} for name, said in known.items()}
        lines.append(
            {
                "case": image_name,
                "keyword": keyword,
                "kind": "concepts",
                "description": {"keyword": keyword, "values": values},
                "fraction": float(mask.mean()),
                "settings": "",
            }
        )
    return lines


def _oriented(
    case: LoadedCase, card: DatasetCard
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[float, ...] | None]:
    """Image, label, directions of the axes and spacing in mm where it is known."""
    sizes = nibabel.affines.voxel_sizes(case.affine)
    if card.form == "picture":
        spacing = tuple(float(size) for size in sizes[:2]) if case.spacing_known else None
        return case.image, case.label, PICTURE_DIRECTIONS, spacing
    turn = nibabel.orientations.io_orientation(case.affine)
    image = np.stack([nibabel.orientations.apply_orientation(c, turn) for c in case.image])
    label = nibabel.orientations.apply_orientation(case.label, turn)
    order = np.argsort(turn[:, 0])
    spacing = tuple(float(sizes[int(axis)]) for axis in order) if case.spacing_known else None
    return image, label, RAS_DIRECTIONS, spacing
