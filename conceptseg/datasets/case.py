"""A case of a data set, from its files to arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .oddities import Oddity


@dataclass(frozen=True)
class RawCase:
    """The files of one case as downloaded.

    Attributes:
        name: of the case; names the prepared files.
        image: file, or folder of a DICOM series.
        masks: mask or annotation files, joined.
        section: section the data set itself gives the case, or None.
        group: cases of one group stay in one section.
        files: names below the source, for the record.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    section: str | None = None
    group: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedCase:
    """The arrays of one case.

    Attributes:
        image: (C, *spatial), first axis left to right for pictures.
        label: (*spatial) uint8 label numbers.
        affine: (4, 4) voxel to world in mm, RAS.
        spacing_known: the affine's lengths are millimetres.
        oddities: remarks found while reading.
    """

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray
    spacing_known: bool
    oddities: list[Oddity] = field(default_factory=list)


class LeftOutError(ValueError):
    """A case that cannot be used; `oddity` says why."""

    def __init__(self, oddity: Oddity) -> None:
        super().__init__(oddity.text)
        self.oddity = oddity
