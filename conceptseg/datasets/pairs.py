"""The converter for data sets that hold images and masks as files: most of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..image_checks import corner_shift
from ..image_io import ConceptImageReader
from .card import DatasetCard, LayoutPart
from .case import LeftOutError, LoadedCase, RawCase
from .encodings import encode_mask
from .oddities import Oddity
from .source_files import SourceFile

_HALF_VOXEL = 0.5  # a smaller shift leaves every voxel of the mask on its voxel of the image


class PairsConverter:
    """Finds images and masks by the card's patterns, and reads them.

    Converters of single sets derive from it and change what is different there.

    Args:
        card: of the data set.
    """

    def __init__(self, card: DatasetCard) -> None:
        self.card = card
        dims = 2 if card.form == "picture" else 3
        channels = 3 if card.color else 1
        colors = card.encoding.kind == "colors"
        self.image_reader = ConceptImageReader(channels=channels, spatial_dims=dims)
        self.mask_reader = ConceptImageReader(is_label=not colors, spatial_dims=dims)

    def find(self, files: Sequence[SourceFile]) -> tuple[list[RawCase], list[Oddity]]:
        """Pair the files.

        Args:
            files: all files of the data set.

        Returns:
            Cases sorted by name, and remarks on files without partner.
        """
        cases: dict[str, RawCase] = {}
        oddities: list[Oddity] = []
        for part in self.card.parts:
            found, remarks = self._find_part(part, files)
            oddities += remarks
            for case in found:
                if case.name in cases:
                    text = (
                        f"'{case.files[0]}' is named like '{cases[case.name].files[0]}'; left out"
                    )
                    oddities.append(Oddity(case.name, "same_name", text))
                cases.setdefault(case.name, case)
        return [cases[name] for name in sorted(cases)], oddities

    def _find_part(
        self, part: LayoutPart, files: Sequence[SourceFile]
    ) -> tuple[list[RawCase], list[Oddity]]:
        """The cases of one part of the layout."""
        masks: dict[str, list[SourceFile]] = {}
        for file, match in _matches(part.mask, files):
            masks.setdefault(_named(part.name, match), []).append(file)
        found, oddities, used = [], [], set()
        for file, match in _matches(part.image, files):
            name = _named(part.name, match)
            if name not in masks:
                text = f"no mask for '{file.name}'"
                oddities.append(Oddity(name, "unpaired_image", text))
                continue
            used.add(name)
            found.append(
                RawCase(
                    name,
                    file.path,
                    tuple(mask.path for mask in masks[name]),
                    part.section,
                    _named(part.group, match) if part.group else name,
                    (file.name, *(mask.name for mask in masks[name])),
                )
            )
        for name in masks.keys() - used:
            text = f"no image for '{masks[name][0].name}'"
            oddities.append(Oddity(name, "unpaired_mask", text))
        return found, oddities

    def load(self, case: RawCase) -> LoadedCase:
        """Read a case.

        Raises:
            LeftOutError: unreadable files, or a mask that does not fit.
        """
        try:
            image, meta = self.image_reader.get_data([case.image])
            label, affine, oddities = self.read_label(case, image.shape[1:], meta["affine"])
        except LeftOutError:
            raise
        except (ValueError, OSError, KeyError) as error:
            raise LeftOutError(Oddity(case.name, "unreadable", str(error))) from error
        if label.shape != image.shape[1:]:
            text = f"image {image.shape[1:]}, mask {label.shape}"
            raise LeftOutError(Oddity(case.name, "size_mismatch", text))
        if affine is not None and not meta["is_photo"]:
            shift = corner_shift(affine, meta["affine"], image.shape[1:])
            if shift > _HALF_VOXEL:
                text = f"a corner lies {shift:.3g} voxels away"
                oddities = [*oddities, Oddity(case.name, "position_mismatch", text)]
        return LoadedCase(image, label, meta["affine"], bool(meta["spacing_known"]), oddities)

    def read_label(
        self, case: RawCase, shape: tuple[int, ...], affine: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None, list[Oddity]]:
        """Read and join the masks of a case.

        Args:
            case: to read.
            shape: (*spatial) of its image.
            affine: (4, 4) of its image.

        Returns:
            (*spatial) uint8 label numbers, the masks' affine if they have one, and remarks.
        """
        joined, position, oddities = None, None, []
        for path in case.masks:
            array, meta = self.mask_reader.get_data([path])
            label, remarks = encode_mask(array, self.card.encoding, case.name)
            oddities += remarks
            position = None if meta["is_photo"] else meta["affine"]
            if joined is None:
                joined = label
            elif joined.shape == label.shape:
                joined = np.maximum(joined, label)
            else:
                text = f"its masks have the sizes {joined.shape} and {label.shape}"
                raise LeftOutError(Oddity(case.name, "size_mismatch", text))
        return joined, position, oddities


def _matches(pattern: str, files: Sequence[SourceFile]) -> list[tuple[SourceFile, re.Match]]:
    """Files whose name the pattern finds, with the match."""
    if not pattern:
        return []
    compiled = re.compile(pattern, re.IGNORECASE)
    found = ((file, compiled.search(file.name)) for file in files)
    return [(file, match) for file, match in found if match]


def _named(form: str, match: re.Match) -> str:
    """Fill the named groups of a match into `form`; usable as a file name."""
    name = form.format(**{key: value or "" for key, value in match.groupdict().items()})
    return re.sub(r"[^\w.+-]+", "_", Path(name).name).strip("_")
