"""Decoding one image file into a channel-first array with its affine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from monai.data import ITKReader
from PIL import Image, ImageOps

from .image_formats import UnusableImageError, is_dicom_file
from .intensity_range import WINDOW_TAGS, bit_depth_window, dicom_window

logger = logging.getLogger(__name__)

# JPEG stores colour at half resolution: a grey mask saved as RGB JPEG differs a little by channel.
_GREY_TOLERANCE = 16
# Deviation of a DICOM slice's position, as a part of the slice spacing, that is worth a warning;
# ITK reports every rounding error.
_UNEVEN_SPACING = 0.01
_SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "SharedFunctionalGroupsSequence")


@dataclass(frozen=True)
class DecodedImage:
    """One decoded image.

    Attributes:
        array: (C, *spatial), 2 or 3 spatial axes, first spatial axis left to right.
        affine: (4, 4) voxel to world in mm, RAS; identity for photographs.
        is_photo: the axes are those of a picture, no position in space.
        spacing_known: the affine's lengths are millimetres stated by the file.
        window: (lowest, highest) value that is to be shown: what a DICOM file says, or the range of the
            bits that a 16-bit picture uses; None where unknown.
    """

    array: np.ndarray
    affine: np.ndarray
    is_photo: bool
    spacing_known: bool
    window: tuple[float, float] | None = None


def decode_photo(path: Path, is_label: bool, apply_exif: bool) -> DecodedImage:
    """Decode PNG, JPEG, BMP or TIFF.

    Args:
        path: the file.
        is_label: keep palette indices and raw integers, as masks need them.
        apply_exif: turn the picture as its EXIF orientation says, as every viewer shows it.

    Returns:
        (C, W, H); C is 1 or 3. Values as stored; bilevel images 0/255 (0/1 as label).

    Raises:
        UnusableImageError: several pages or frames.
    """
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise UnusableImageError(
                f"Expected one picture, got {image.n_frames} pages in '{path}'. Save one page, or "
                "convert the stack to NIfTI."
            )
        image.load()
        if apply_exif and image.getexif().get(0x0112, 1) != 1:
            logger.info("'%s': turned as its EXIF orientation says.", path)
            image = ImageOps.exif_transpose(image)
        array = _photo_array(image, path, is_label)
        window = bit_depth_window(array) if image.mode.startswith("I;16") else None
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    return DecodedImage(np.swapaxes(array, 1, 2), np.eye(4), True, False, window)


def _photo_array(image: Image.Image, path: Path, is_label: bool) -> np.ndarray:
    """Give (H, W) or (H, W, 3) of a PIL image of any mode."""
    mode = image.mode
    if mode == "1":
        return np.asarray(image).astype(np.uint8) * (1 if is_label else 255)
    if mode == "P" and is_label:
        return np.asarray(image)
    if mode in ("L", "RGB", "I", "F") or mode.startswith("I;16"):
        return np.asarray(image)
    if mode in ("LA", "La"):
        logger.info("'%s': transparency dropped.", path)
        return np.asarray(image.convert("L"))
    if "A" in mode or "transparency" in image.info:
        logger.info("'%s': transparency dropped.", path)
        return np.asarray(image.convert("RGBA"))[..., :3]
    logger.info("'%s': converted from %s to RGB.", path, mode)
    return np.asarray(image.convert("RGB"))


def decode_nifti(path: Path) -> DecodedImage:
    """Decode NIfTI to (C, X, Y[, Z]); C is 3 for RGB voxels, else 1.

    Trailing axes of length 1 behind the third are dropped.

    Raises:
        UnusableImageError: more than three axes.
    """
    image = nibabel.load(path)
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    _check_dimensions(path, shape)
    array = np.asanyarray(image.dataobj).reshape(shape, order="F")
    if array.dtype.names:  # RGB24, RGBA32
        array = np.stack([array[name] for name in array.dtype.names[:3]])
    else:
        array = array[None]
    if array.dtype.byteorder == ">":  # PyTorch reads little-endian only
        array = array.astype(array.dtype.newbyteorder("<"))
    return DecodedImage(array, np.asarray(image.affine, dtype=np.float64), False, True)


def decode_itk(path: Path) -> DecodedImage:
    """Decode NRRD or MetaImage to (C, X, Y[, Z]), affine in RAS.

    Raises:
        UnusableImageError: not two or three spatial axes.
    """
    import itk  # several seconds: only for those who need it

    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        raise OSError("no ITK reader recognises the content")
    io.SetFileName(str(path))
    io.ReadImageInformation()
    shape = tuple(io.GetDimensions(axis) for axis in range(io.GetNumberOfDimensions()))
    _check_dimensions(path, shape)
    array, affine = _read_with_itk(str(path))
    return DecodedImage(array, affine, False, True)


def _check_dimensions(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse all but two and three axes."""
    if len(shape) not in (2, 3):
        raise UnusableImageError(
            f"Expected an image with 2 or 3 axes, got {len(shape)} axes {tuple(shape)} in "
            f"'{path}'. Save one time point or channel as its own volume."
        )


def _read_with_itk(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a file or DICOM folder: (C, *spatial) and a (4, 4) affine in RAS."""
    reader = ITKReader()
    image = reader.read(path)
    header, key = image.GetMetaDataDictionary(), "ITK_non_uniform_sampling_deviation"
    if header.HasKey(key) and header[key] > _UNEVEN_SPACING * image.GetSpacing()[2]:
        logger.warning("'%s': slices are missing or unevenly spaced; lengths in mm are off.", path)
    array, meta = reader.get_data(image)
    has_channels = array.ndim > len(meta["spatial_shape"])
    array = np.moveaxis(array, -1, 0) if has_channels else array[None]
    affine = np.eye(4)
    given = np.asarray(meta["affine"], dtype=np.float64)
    rank = given.shape[0] - 1
    affine[:rank, :rank], affine[:rank, 3] = given[:rank, :rank], given[:rank, rank]
    return np.array(array), affine


def decode_dicom(path: Path) -> DecodedImage:
    """Decode a DICOM file to (C, X, Y, frames) or a series folder to (C, X, Y, slices), RAS affine.

    ITK inverts MONOCHROME1 images (low values shown white), so that bright means bright.

    Raises:
        FileNotFoundError: a folder without DICOM files.
        UnusableImageError: a folder with more than one series.
    """
    first = path if path.is_file() else _first_of_one_series(path)
    header = pydicom.dcmread(first, force=True, specific_tags=[*_SPACING_TAGS, *WINDOW_TAGS])
    array, affine = _read_with_itk(str(path))
    spacing_known = any(tag in header for tag in _SPACING_TAGS)
    return DecodedImage(array, affine, False, spacing_known, dicom_window(header))


def _first_of_one_series(folder: Path) -> Path:
    """Give a file of the one DICOM series in ``folder``; refuse none and several."""
    files = sorted(child for child in folder.iterdir() if is_dicom_file(child))
    if not files:
        raise FileNotFoundError(
            f"Expected a folder with the files of one DICOM series, got no DICOM file in "
            f"'{folder}'. Give the folder that holds the slices themselves."
        )
    series = dicom_series(files)
    if len(series) > 1:
        counts = ", ".join(f"{uid} ({len(names)} files)" for uid, names in series.items())
        raise UnusableImageError(
            f"Expected one DICOM series in '{folder}', got {len(series)}: {counts}. Move each "
            "series to its own folder."
        )
    return files[0]


def dicom_series(files: list[Path]) -> dict[str, list[Path]]:
    """Group DICOM files by SeriesInstanceUID, order kept.

    Raises:
        UnusableImageError: a file is no DICOM file.
    """
    series: dict[str, list[Path]] = {}
    for file in files:
        try:
            header = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]
            )
        except Exception as error:
            raise UnusableImageError(
                f"Expected a DICOM file, got '{file}' which cannot be read ({error}). Export the "
                "series again or remove the file."
            ) from error
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(file)
    return series


def is_grey(array: np.ndarray) -> bool:
    """Say whether the channels of (C, *spatial) are equal up to JPEG's colour rounding."""
    first = array[0].astype(np.float64)
    return all(np.abs(channel - first).max(initial=0) <= _GREY_TOLERANCE for channel in array[1:])
