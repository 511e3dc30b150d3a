"""A look at somebody's images: picture or volume, voxel size, extent, and what follows from them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from ..datalist import image_datalist
from ..datalist_layouts import IMAGE_FOLDERS, MASK_FOLDERS, first_folder
from ..image_decoders import is_grey
from ..image_io import ConceptImageReader

logger = logging.getLogger(__name__)

MOST_IMAGES = 40  # looked at, evenly spread over the folder
KEPT_SPACING = -1.0  # resampling leaves this axis as it is
_ALL_AXES_RATIO = 2.0  # of the voxel's sides, up to which a volume is cut along every axis
_ALL_AXES_PIXELS = 128  # largest slice for it: larger volumes take too long along three axes
_MOST_PIXELS = 320  # of a slice; larger fields are resampled to it
_DIVISOR = 16  # slice sizes are multiples of it


@dataclass(frozen=True)
class Survey:
    """What the images are like.

    Attributes:
        count: images in the folder.
        is_volume: they have slices; otherwise they are pictures.
        is_grey: pictures without color.
        spacing: median voxel size (3,) in mm along right, anterior, superior; None for pictures.
        extent: largest field of view (3,) in mm along these; None for pictures.
    """

    count: int
    is_volume: bool
    is_grey: bool = False
    spacing: tuple[float, ...] | None = None
    extent: tuple[float, ...] | None = None


@dataclass(frozen=True)
class VolumeChoices:
    """How volumes are cut into slices.

    Attributes:
        spacing: voxel size (3,) in mm to resample to, -1 where it stays.
        slice_axes: RAS axes the volume is cut along.
        slice_size: pixels of the square that holds a slice.
    """

    spacing: list[float]
    slice_axes: list[int]
    slice_size: int


def survey_images(folder: str | Path) -> Survey:
    """Look at the images of a folder, or of its `images`; 40 of them where there are more.

    Args:
        folder: images of any accepted format, or a data set with `images`. What lies in `labels` or
            `masks`, where MONAI Label keeps what was annotated, is left out.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no image in it, or pictures and volumes together.
    """
    folder = Path(folder)
    paths = [Path(entry["image"]) for entry in image_datalist(images_in(folder))]
    paths = [p for p in paths if not {*p.relative_to(folder).parts[:1]} & {*MASK_FOLDERS}]
    if not paths:
        raise ValueError(f"expected images in {folder}, got masks alone; give the images' folder")
    step = max(1, math.ceil(len(paths) / MOST_IMAGES))
    looked = paths[::step]
    found, reader, said = [], ConceptImageReader(), time.monotonic()
    for number, path in enumerate(looked, start=1):
        found.append(_look_at(reader, path))
        if time.monotonic() - said > 5:
            said = time.monotonic()
            logger.info("%d of %d images looked at", number, len(looked))
    volumes = [entry for entry in found if entry[0] is not None]
    if not volumes:
        return Survey(len(paths), False, is_grey=all(grey for _, _, grey in found))
    if len(volumes) < len(found):
        picture = looked[[entry[0] is None for entry in found].index(True)]
        raise ValueError(
            f"expected either volumes or pictures in {folder}, got both ({picture.name} is a picture);"
            " give a folder for each"
        )
    spacing = np.median([entry[0] for entry in volumes], axis=0)
    extent = np.max([entry[1] for entry in volumes], axis=0)
    return Survey(len(paths), True, False, tuple(spacing.tolist()), tuple(extent.tolist()))


def images_in(folder: Path) -> Path:
    """The folder `images` of a data set, or `folder` itself."""
    return first_folder(folder, IMAGE_FOLDERS) or folder


def _look_at(reader: ConceptImageReader, path: Path) -> tuple:
    """Spacing and extent (3,) of a volume, None for a picture; and whether it is grey."""
    array, meta = reader.get_data(reader.read(path))
    shape = array.shape[1:]
    if meta["is_photo"] or len(shape) < 3 or shape[2] == 1:
        return None, None, len(array) == 1 or is_grey(array)
    sides = nib.affines.voxel_sizes(meta["affine"])
    axes = nib.io_orientation(meta["affine"])[:, 0].astype(int)  # RAS axis of each array axis
    spacing = np.empty(3)
    spacing[axes] = sides
    extent = np.empty(3)
    extent[axes] = sides * shape
    return spacing, extent, True


def choose_for_volumes(
    spacing: Sequence[float],
    extent: Sequence[float],
    wanted_spacing: Sequence[float] | None = None,
    wanted_axes: Sequence[int] | None = None,
) -> VolumeChoices:
    """Slices for volumes of this voxel size and field of view.

    Small volumes of nearly cubic voxels are cut along every axis, others across their longest voxel
    side. Slices hold the whole field of view, at 320 pixels at most, with a coarser voxel where needed.

    Args:
        spacing: voxel size (3,) in mm along right, anterior, superior.
        extent: field of view (3,) in mm.
        wanted_spacing: voxel size (3,) in mm that somebody has chosen, -1 where it stays.
        wanted_axes: RAS axes that somebody has chosen to cut along.

    Example::

        choose_for_volumes((0.8, 0.8, 5.0), (380.0, 380.0, 300.0))
        # VolumeChoices(spacing=[1.1875, 1.1875, -1.0], slice_axes=[2], slice_size=320)
    """
    if wanted_spacing or wanted_axes:
        usual = choose_for_volumes(spacing, extent)
        chosen, axes = list(wanted_spacing or usual.spacing), list(wanted_axes or usual.slice_axes)
        sides = [given if given > 0 else own for given, own in zip(chosen, spacing, strict=True)]
        plane = {axis for cut in axes for axis in range(3) if axis != cut}
        return VolumeChoices(chosen, axes, max(_pixels(extent[i], sides[i]) for i in plane))
    finest = min(spacing)
    size = _pixels(max(extent), finest)
    if max(spacing) <= _ALL_AXES_RATIO * finest and size <= _ALL_AXES_PIXELS:
        return VolumeChoices([round(finest, 4)] * 3, [0, 1, 2], size)
    across = max(range(3), key=lambda axis: (round(spacing[axis], 3), axis))
    plane = [axis for axis in range(3) if axis != across]
    widest = max(extent[axis] for axis in plane)
    side = max(min(spacing[axis] for axis in plane), widest / _MOST_PIXELS)
    chosen = [KEPT_SPACING if axis == across else round(side, 4) for axis in range(3)]
    return VolumeChoices(chosen, [across], min(_MOST_PIXELS, _pixels(widest, side)))


def _pixels(extent: float, side: float) -> int:
    """Pixels of this side for the extent, as a multiple of the network's divisor."""
    return max(2, math.ceil(round(extent / side, 3) / _DIVISOR)) * _DIVISOR
