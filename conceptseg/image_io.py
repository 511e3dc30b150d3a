"""Reading images of every accepted format, as a MONAI reader for ``LoadImaged(reader=...)``.

The writers and checks that belong to it are importable from here as well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from monai.data import ImageReader

from .image_checks import CheckImaged, CheckLabeld, LabelMapd, ThresholdMaskd
from .image_decoders import (
    DecodedImage,
    decode_dicom,
    decode_itk,
    decode_nifti,
    decode_photo,
    is_grey,
)
from .image_formats import (
    ACCEPTED_PATTERNS,
    UnusableImageError,
    case_name,
    has_dicom_magic,
    image_kind,
    segmentation_suffix,
)
from .image_writers import AtomicNibabelWriter, AtomicPILWriter, SaveSegmentationd
from .intensity_range import within_byte_range

__all__ = [
    "AtomicNibabelWriter",
    "AtomicPILWriter",
    "CheckImaged",
    "CheckLabeld",
    "ConceptImageReader",
    "LabelMapd",
    "SaveSegmentationd",
    "ThresholdMaskd",
    "case_name",
    "segmentation_suffix",
]

logger = logging.getLogger(__name__)

_PICTURE_DIMS = 3  # of (C, W, H)
# ITU-R BT.601 luma weights, those of PIL's conversion to grey.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class ConceptImageReader(ImageReader):
    """Read PNG, JPEG, BMP, TIFF, NIfTI, NRRD, MetaImage, a DICOM file or a DICOM series folder.

    Arrays come channel-first: (C, W, H) for photographs (MONAI's PIL order), (C, X, Y[, Z]) with
    an affine in RAS for the rest. The metadata are the same few keys for every format: affine,
    original_affine, spatial_shape, original_channel_dim, space, is_photo, spacing_known.

    Pictures and single slices come with values in 0..255, as the bundles of pictures scale them. Others
    are brought there: floats of 0..1 times 255, a 16-bit PNG or TIFF by the bits that it uses, a DICOM
    file by its window, the rest by their percentiles. Volumes and labels keep their values.

    ``read`` only remembers the paths; everything happens in ``get_data``. ``LoadImage`` tries its
    built-in readers after any error in ``read``, and would so load what is refused here.

    Args:
        channels: channels of the result; None keeps what the file has, 3 repeats grey images,
            1 turns colour images to grey. Ignored for labels.
        is_label: the file holds a label map: values kept (palette indices, 16-bit integers), one
            channel, colour-coded masks refused.
        spatial_dims: 2 or 3, None for both. With 2, a volume of one slice loses its third axis;
            with 3, a two-dimensional NIfTI, NRRD or MetaImage becomes a volume of one slice.
        apply_exif: turn photographs as their EXIF orientation says, as every viewer shows them.

    Raises:
        ValueError: ``channels`` or ``spatial_dims`` out of range.
    """

    def __init__(
        self,
        channels: int | None = None,
        is_label: bool = False,
        spatial_dims: int | None = None,
        apply_exif: bool = True,
    ):
        super().__init__()
        if channels not in (None, 1, 3) or spatial_dims not in (None, 2, 3):
            raise ValueError(
                f"Expected channels 1, 3 or None and spatial_dims 2, 3 or None, got "
                f"{channels!r} and {spatial_dims!r}. Correct the reader in the config."
            )
        self.channels = 1 if is_label else channels
        self.is_label = is_label
        self.spatial_dims = spatial_dims
        self.apply_exif = apply_exif
        self._has_told_range = False

    def verify_suffix(self, filename: Sequence[str] | str) -> bool:
        """Say whether every file name given is of an accepted kind."""
        return all(image_kind(name) is not None for name in _as_paths(filename))

    def read(self, data: Sequence[str] | str, **kwargs) -> list[Path]:
        """Give the paths back as a list; nothing is read yet (see the class)."""
        return _as_paths(data)

    def get_data(self, img: Sequence[Path]) -> tuple[np.ndarray, dict]:
        """Decode the files.

        Args:
            img: what ``read`` gave; several files are joined along the channel axis.

        Returns:
            Array (C, *spatial) and the metadata listed in the class.

        Raises:
            FileNotFoundError: a file is missing, or a folder holds no DICOM file.
            UnusableImageError: (a ValueError) a file is empty, damaged or of an unknown kind, has
                four axes, or its channels or axes are not those asked for.
        """
        images = [self._fit(path, self._decode(path)) for path in img]
        first = images[0]
        for path, image in zip(img[1:], images[1:], strict=True):
            same_shape = image.array.shape[1:] == first.array.shape[1:]
            if not same_shape or not np.allclose(image.affine, first.affine, atol=1e-3):
                raise UnusableImageError(
                    f"Expected '{path}' on the grid of '{img[0]}' (shape {first.array.shape[1:]}),"
                    f" got shape {image.array.shape[1:]} or another affine. Resample it first."
                )
        array = np.concatenate([image.array for image in images])
        return array, {
            "affine": first.affine.copy(),
            "original_affine": first.affine.copy(),
            "spatial_shape": np.asarray(array.shape[1:]),
            "original_channel_dim": 0,
            "space": "RAS",
            "is_photo": first.is_photo,
            "spacing_known": first.spacing_known,
        }

    def _decode(self, path: Path) -> DecodedImage:
        """Decode one file, with a readable error for all that can be wrong with it."""
        kind = _checked_kind(path)
        try:
            if kind == "photo":
                return decode_photo(path, self.is_label, self.apply_exif)
            return {"nifti": decode_nifti, "itk": decode_itk, "dicom": decode_dicom}[kind](path)
        except (UnusableImageError, FileNotFoundError):
            raise
        except Exception as error:  # the libraries raise OSError, EOFError, zlib.error, ...
            raise _damaged(path, error) from error

    def _fit(self, path: Path, image: DecodedImage) -> DecodedImage:
        """Bring channels and axes to what was asked for."""
        array = image.array
        if array.size == 0 or array.dtype.kind not in "biuf":
            raise UnusableImageError(
                f"Expected real numbers in '{path}', got shape {array.shape} of {array.dtype}. "
                "Export the image again as integers or floats."
            )
        if not np.isfinite(image.affine).all() or not np.linalg.det(image.affine):
            raise UnusableImageError(
                f"Expected an invertible affine in '{path}', got {image.affine.tolist()}. Repair "
                "the header (spacing above zero) or export the image again."
            )
        array = self._fit_axes(path, array, image.is_photo)
        if not self.is_label and array.ndim == _PICTURE_DIMS:
            array = self._fit_range(path, array, image.window)
        return replace(image, array=self._fit_channels(path, array))

    def _fit_range(
        self, path: Path, array: np.ndarray, window: tuple[float, float] | None
    ) -> np.ndarray:
        """Bring a picture (C, W, H) to 0..255; said once, as all of a data set may be such."""
        fitted = within_byte_range(array, window)
        if fitted is not array and not self._has_told_range:
            self._has_told_range = True
            logger.info(
                "'%s': values from %g to %g brought to 0..255; others like it are too, unsaid.",
                path,
                array.min(),
                array.max(),
            )
        return fitted

    def _fit_channels(self, path: Path, array: np.ndarray) -> np.ndarray:
        """Give ``array`` with the wanted number of channels."""
        count = array.shape[0]
        if self.channels is None or count == self.channels:
            return array
        if count == 1:
            return np.repeat(array, self.channels, axis=0)
        if count == 3 and is_grey(array):
            return array[:1]
        if count == 3 and not self.is_label:
            logger.info("'%s': colour turned to grey.", path)
            return np.tensordot(_LUMA, array.astype(np.float32), axes=1)[None]
        what = "one integer per pixel" if self.is_label else f"{self.channels} channel(s)"
        raise UnusableImageError(
            f"Expected {what} in '{path}', got {count} channels. "
            + ("Save the mask as label numbers." if self.is_label else "Convert the image first.")
        )

    def _fit_axes(self, path: Path, array: np.ndarray, is_photo: bool) -> np.ndarray:
        """Give ``array`` with the wanted number of spatial axes."""
        axes = array.ndim - 1
        if self.spatial_dims in (None, axes):
            return array
        if self.spatial_dims == 2 and array.shape[3] == 1:
            return array[..., 0]
        if self.spatial_dims == 3 and not is_photo:
            return array[..., None]
        wanted = "a picture or one slice" if self.spatial_dims == 2 else "a volume"
        raise UnusableImageError(
            f"Expected {wanted}, got spatial shape {array.shape[1:]} in '{path}'. "
            + ("Give single slices, " if self.spatial_dims == 2 else "Give a NIfTI volume, ")
            + "or use the bundle made for such images."
        )


def _as_paths(data: Sequence[str] | str) -> list[Path]:
    """Give the path or paths as a list."""
    return [Path(data)] if isinstance(data, (str, os.PathLike)) else [Path(name) for name in data]


def _checked_kind(path: Path) -> str:
    """Give the kind of the file; refuse missing, empty and unknown ones."""
    if not path.exists():
        raise FileNotFoundError(
            f"Expected an image file or DICOM folder, got '{path}', which does not exist. Check "
            "the spelling and that the disk is mounted."
        )
    if path.is_file() and path.stat().st_size == 0:
        raise UnusableImageError(
            f"Expected an image, got the empty file '{path}' (0 bytes). Copy or export it again."
        )
    kind = image_kind(path) or ("dicom" if has_dicom_magic(path) else None)
    if kind is None:
        raise UnusableImageError(
            f"Expected one of {', '.join(ACCEPTED_PATTERNS)}; got '{path}'. Convert it first."
        )
    return kind


def _damaged(path: Path, error: Exception) -> UnusableImageError:
    """Give the error for a file that cannot be decoded."""
    reason = str(error).strip().splitlines()[-1:] or [""]
    return UnusableImageError(
        f"Expected a readable image, got '{path}', which is damaged or not what its name says "
        f"({type(error).__name__}: {reason[0].strip()}). Copy or export it again."
    )
