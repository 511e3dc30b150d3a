"""What an image tells of its grid: the directions of its axes and the size of its voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.data import MetaTensor

from .evaluation import as_array
from .slices import RAS_DIRECTIONS

PHOTO_DIRECTIONS = ("right", "bottom")


def directions_of(image: Any) -> tuple[str, ...]:
    """Directions in which the indices of `image` (C, *spatial) grow: photograph or volume."""
    if image.ndim == 3:
        return PHOTO_DIRECTIONS
    affine = as_array(getattr(image, "affine", np.eye(4)))
    words = []
    for column in range(3):
        main = int(np.argmax(np.abs(affine[:3, column])))
        opposite = ("left", "posterior", "inferior")[main]
        words.append(RAS_DIRECTIONS[main] if affine[main, column] > 0 else opposite)
    return tuple(words)


def spacing_of(image: Any) -> tuple[float, ...] | None:
    """Voxel size in mm of `image` (C, *spatial), or None where the file does not tell."""
    if not isinstance(image, MetaTensor) or not image.meta.get("spacing_known", image.ndim == 4):
        return None
    return tuple(float(x) for x in image.pixdim[: image.ndim - 1])
