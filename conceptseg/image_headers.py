"""Size and position of an image from its header, where reading all of its pixels would take long."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from .image_formats import image_kind
from .image_io import ConceptImageReader

_EXIF_ORIENTATION = 0x0112
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def shape_and_affine(
    path: str | os.PathLike, spatial_dims: int | None = None
) -> tuple[tuple[int, ...], np.ndarray]:
    """Spatial shape and affine of an image, the same that `ConceptImageReader` gives.

    The pixels are read only where the header does not tell: for a folder of DICOM files, for axes
    that are not those asked for, and for a file that cannot be used, whose error is the reader's.

    Args:
        path: of the image.
        spatial_dims: 2 or 3, None for both, as for the reader.

    Returns:
        Shape (W, H) or (X, Y, Z), and (4, 4) voxel to mm in RAS; identity for photographs.

    Raises:
        FileNotFoundError, ValueError: the image is missing or unusable.
    """
    found = _from_header(Path(path))
    if found is not None and _is_usable(
        *found, (2, 3) if spatial_dims is None else (spatial_dims,)
    ):
        return found
    reader = ConceptImageReader(spatial_dims=spatial_dims)
    array, meta = reader.get_data(reader.read(path))
    return array.shape[1:], meta["affine"]


def _from_header(path: Path) -> tuple[tuple[int, ...], np.ndarray] | None:
    """Shape and affine, None where the header does not tell or cannot be read."""
    if not path.is_file():
        return None
    readers = {"photo": _photo, "nifti": _nifti, "itk": _itk, "dicom": _itk}
    try:
        return readers[image_kind(path)](path)
    except Exception:  # the libraries raise all kinds of errors; the reader says what is wrong
        return None


def _is_usable(shape: tuple[int, ...], affine: np.ndarray, axes: tuple[int, ...]) -> bool:
    """True for as many axes as wanted, at least one voxel, and an affine that can be inverted."""
    regular = bool(np.isfinite(affine).all()) and np.linalg.det(affine) != 0
    return len(shape) in axes and all(shape) and regular


def _photo(path: Path) -> tuple[tuple[int, ...], np.ndarray] | None:
    """Of a picture, turned as its EXIF orientation says."""
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            return None
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5  # rows become columns
        return image.size[::-1] if turned else image.size, np.eye(4)


def _nifti(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Of a NIfTI file; axes of length 1 behind the third are dropped."""
    image = nibabel.load(path)
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape, np.asarray(image.affine, dtype=np.float64)


def _itk(path: Path) -> tuple[tuple[int, ...], np.ndarray] | None:
    """Of an NRRD, MetaImage or DICOM file."""
    import itk  # several seconds: only for those who need it

    header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if header is None:
        return None
    header.SetFileName(str(path))
    header.ReadImageInformation()
    axes = range(header.GetNumberOfDimensions())
    affine = np.eye(4)
    for axis in axes:
        direction = np.asarray(header.GetDirection(axis), dtype=np.float64)
        affine[: len(axes), axis] = direction * header.GetSpacing(axis)
        affine[axis, 3] = header.GetOrigin(axis)
    return tuple(int(header.GetDimensions(axis)) for axis in axes), _LPS_TO_RAS @ affine
