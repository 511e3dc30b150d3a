"""Concepts from a concept file, for training: kept true under augmentation, or left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from ..concepts import Concepts, MeasuredConcepts
from ..concepts.described import Description
from ..concepts.orientation import grid_locations, location_word
from ..datalist_split import base_dir
from .store import Described, load_concepts

GEOMETRY = ("number", "location", "shape", "size", "level", "laterality", "intensity")
OF_THE_WHOLE = ("number", "shape", "size", "color", "intensity")  # untrue of what a crop leaves
KEPT_SHARE = 0.9  # of the mask; below it the rest is no longer what was described
GROWN_SHARE = 1.1  # above it another object was copied into the image


class RecordedConcepts:
    """Gives what a concept file says of the label of an augmented image.

    *remeasured* (for fused descriptions): what the mask tells is measured on the augmented mask; colour
    and descriptors come from the file. *moved* (for descriptions by a model alone): everything comes from
    the file; the location follows the affine of the image's transforms and is left out where it moves
    out of sight; what a crop or a copied object makes untrue is left out. Slices of a volume are always
    remeasured, because the file describes the volume.

    Args:
        path: concept file.
        dataset_dir: of the data set; its cases are relative to it.
        geometry: "remeasured" or "moved".

    Raises:
        ValueError: an unknown geometry.
        FileNotFoundError: no concept file.
    """

    def __init__(
        self, path: str | os.PathLike, dataset_dir: str | os.PathLike, geometry: str = "remeasured"
    ) -> None:
        if geometry not in ("remeasured", "moved"):
            raise ValueError(f"expected geometry 'remeasured' or 'moved', got {geometry!r}")
        self.path = str(path)
        self.root = base_dir(Path(dataset_dir))
        self.geometry = geometry
        self.described = load_concepts(path)
        self.measured = MeasuredConcepts()

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        keyword: str,
        directions: Sequence[str],
        original: Any,
    ) -> tuple[Concepts, dict[str, str]]:
        """Concepts and descriptors of one label.

        Args:
            image: (C, H, W), C 1 or 3, augmented.
            mask: (H, W) bool, augmented.
            keyword: of the label.
            directions: of the two axes.
            original: the image as the transforms give it, a `MetaTensor` that knows its file and affine.

        Raises:
            ValueError: an image that does not know its file, or one of which the file says nothing.
        """
        if not mask.any():
            return Concepts(keyword=keyword, number=0), {}
        found = self._find(original, keyword)
        said = found.description
        if self.geometry == "remeasured" or not _is_photo(original):
            seen = self.measured(image, mask, keyword, directions)
            color = said.concepts().color or seen.color
            return seen.model_copy(update={"color": color}), said.descriptors()
        return self._moved(found, mask, directions, original)

    def _find(self, original: Any, keyword: str) -> Described:
        """What the file says of an image."""
        name = original.meta.get("filename_or_obj") if isinstance(original, MetaTensor) else None
        if name is None:
            raise ValueError(
                "expected an image that knows its file (MetaTensor with filename_or_obj), got one"
                " without; keep track_meta on and put nothing that drops it before ConceptPromptd"
            )
        path = Path(str(name)).absolute()
        case = (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(name)
        )
        found = self.described.get((case, keyword))
        if found is None:
            raise ValueError(
                f"expected {keyword!r} of '{case}' in '{self.path}', got nothing; run"
                " configs/extract_concepts.yaml on the same dataset_dir to the end"
            )
        return found

    def _moved(
        self, found: Described, mask: np.ndarray, directions: Sequence[str], original: MetaTensor
    ) -> tuple[Concepts, dict[str, str]]:
        """The file's own words after the transforms of `original`."""
        said: Description = found.description
        concepts = said.concepts()
        changes: dict[str, Any] = {}
        if concepts.location is not None:
            changes["location"] = moved_location(concepts.location, original, directions)
        kept = kept_share(found.fraction, mask, original) if found.fraction else 1.0
        if kept > GROWN_SHARE:
            changes["location"] = None
        if not KEPT_SHARE <= kept <= GROWN_SHARE:
            changes |= dict.fromkeys(OF_THE_WHOLE)
            return concepts.model_copy(update=changes), {}
        return concepts.model_copy(update=changes), said.descriptors()


def _is_photo(original: MetaTensor) -> bool:
    """Whether the image came from a two-dimensional file, whose affine the transforms followed."""
    return len(np.atleast_1d(original.meta.get("spatial_shape", ()))) == 2


def _to_new(original: MetaTensor) -> np.ndarray:
    """(4, 4): index in the file to index after the transforms."""
    affines = (original.affine, original.meta["original_affine"])
    new, old = (np.asarray(a, dtype=np.float64) for a in affines)
    return np.linalg.inv(new) @ old


def moved_location(word: str, original: MetaTensor, directions: Sequence[str]) -> str | None:
    """Location after the transforms of an image, or None where it has left the image.

    Args:
        word: location in the file's image.
        original: transformed image (C, H, W), with the affine of its transforms.
        directions: of the file's axes, and of the image's.
    """
    names = grid_locations(directions)
    if word not in names:
        return None
    cell = np.array(divmod(names.index(word), 3))
    file_shape = np.asarray(original.meta["spatial_shape"], dtype=float)
    index = (cell + 0.5) / 3 * file_shape - 0.5
    moved = (_to_new(original) @ [*index, 0.0, 1.0])[:2]
    place = (moved + 0.5) / np.asarray(original.shape[1:])
    if (place < 0).any() or (place > 1).any():
        return None
    return location_word(place, directions)


def kept_share(fraction: float, mask: np.ndarray, original: MetaTensor) -> float:
    """Share of the described object that is still in the image; above 1 where another was copied into it.

    Args:
        fraction: share of the file's image that the object covered.
        mask: (H, W) bool after the transforms.
        original: transformed image, with the affine of its transforms.
    """
    before = fraction * float(np.prod(original.meta["spatial_shape"]))
    return float(mask.sum()) / (before * abs(np.linalg.det(_to_new(original)[:2, :2])))
