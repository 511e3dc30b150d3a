"""Concepts of a case, measured in an annotator's label or a predicted mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..concepts import MeasuredConcepts
from ..grid import PHOTO_DIRECTIONS
from ..readout import attribute_indices
from ..slices import slice_directions


def measured_indices(
    image: np.ndarray, label: np.ndarray, keywords: Sequence[str], slice_axis: int = 2
) -> np.ndarray:
    """(K, A) indices of the measured concepts, -1 where unknown.

    The network reads volumes slice by slice, so the slice with the largest area of a label is
    measured.

    Args:
        image: (C, W, H) photograph, or (1, X, Y, Z) volume in RAS.
        label: (*spatial) label map.
        keywords: K label names.
        slice_axis: along which volumes are cut.
    """
    source = MeasuredConcepts()
    result = []
    for value, keyword in enumerate(keywords, start=1):
        shown, mask, directions = image, label == value, PHOTO_DIRECTIONS
        if label.ndim == 3:
            others = tuple(i for i in range(3) if i != slice_axis)
            index = int(mask.sum(axis=others).argmax())
            shown = np.take(image, index, axis=slice_axis + 1)
            mask = np.take(mask, index, axis=slice_axis)
            directions = slice_directions(slice_axis)
        result.append(attribute_indices(source(shown, mask, keyword, directions)))
    return np.array(result)
