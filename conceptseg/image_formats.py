"""Which files are images, what a case is called and in which format its mask is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

ImageKind = Literal["photo", "nifti", "itk", "dicom"]

SUFFIXES: dict[ImageKind, tuple[str, ...]] = {
    "photo": (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
    "nifti": (".nii.gz", ".nii"),
    "itk": (".nrrd", ".nhdr", ".mha", ".mhd"),
    "dicom": (".dcm", ".dicom", ".ima"),
}
ACCEPTED_PATTERNS: tuple[str, ...] = (
    *(f"*{suffix}" for suffixes in SUFFIXES.values() for suffix in suffixes),
    "a folder with the files of one DICOM series",
)

# DICOM part 10, section 7.1: 128 bytes of preamble, then these four letters.
_DICOM_PREAMBLE_BYTES = 128
_DICOM_MAGIC = b"DICM"


class UnusableImageError(ValueError):
    """An image file that exists but cannot be used; the message says what to do about it."""


def known_suffix(path: str | os.PathLike) -> str:
    """Give the accepted suffix that ``path``'s name ends in, as written, or an empty string."""
    name = Path(path).name
    for suffixes in SUFFIXES.values():
        for suffix in suffixes:
            if name.lower().endswith(suffix) and len(name) > len(suffix):
                return name[-len(suffix) :]
    return ""


def has_dicom_magic(path: str | os.PathLike) -> bool:
    """Say whether the file starts with a DICOM preamble, whatever its name."""
    try:
        with open(path, "rb") as stream:
            stream.seek(_DICOM_PREAMBLE_BYTES)
            return stream.read(len(_DICOM_MAGIC)) == _DICOM_MAGIC
    except OSError:
        return False


def is_dicom_file(path: str | os.PathLike) -> bool:
    """Say whether ``path`` is a DICOM file, by its suffix or, without a known one, its content.

    Scanners often write DICOM files without a suffix or with a number as one (UID names).
    """
    path = Path(path)
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES["dicom"]:
        return True
    return (not path.suffix or path.suffix[1:].isdigit()) and has_dicom_magic(path)


def image_kind(path: str | os.PathLike) -> ImageKind | None:
    """Give the kind of image at ``path``, None when it is not an accepted image.

    Args:
        path: a file, or a folder; a folder is of kind "dicom".

    Returns:
        "photo" (PNG, JPEG, BMP, TIFF), "nifti", "itk" (NRRD, MetaImage), "dicom" or None.
    """
    path = Path(path)
    if path.is_dir():
        return "dicom"
    suffix = known_suffix(path).lower()
    for kind, suffixes in SUFFIXES.items():
        if suffix in suffixes:
            return kind
    return "dicom" if is_dicom_file(path) else None


def case_name(path: str | os.PathLike) -> str:
    """Give the name of the case stored at ``path``: the file's name without its image suffix.

    Only accepted suffixes are removed, so "1.2.840.7" (a DICOM folder) stays whole.
    """
    name = Path(path).name
    suffix = known_suffix(path)
    return name[: -len(suffix)] if suffix else name


def case_names(paths: Iterable[str]) -> dict[str, str]:
    """Give every path a case name of its own.

    It is ``case_name`` where no other path has the same, else the path below the folder that holds
    all paths, such as "p1/T1", or the whole path where they lie on several drives; with the suffix
    where only this tells two files apart.
    """
    files = {path: Path(path).absolute() for path in paths}
    below = _below_common_folder(files.values())
    ways = (
        case_name,
        lambda file: (below[file].parent / case_name(file)).as_posix(),
        lambda file: below[file].as_posix(),
    )
    names: dict[str, str] = {}
    for way in ways:
        left = {path: way(file) for path, file in files.items() if path not in names}
        counts = Counter(left.values())
        names |= {path: name for path, name in left.items() if counts[name] == 1}
    return {path: names.get(path, path) for path in files}


def _below_common_folder(files: Iterable[Path]) -> dict[Path, Path]:
    """Give every absolute path below the folder that holds all; whole, where none does."""
    files = list(files)
    try:
        root = os.path.commonpath([file.parent for file in files])
    except ValueError:  # no files, or several drives
        return {file: file for file in files}
    return {file: file.relative_to(root) for file in files}


def segmentation_suffix(path: str | os.PathLike) -> str:
    """Give the suffix under which the mask of the image at ``path`` is written.

    Returns:
        ".png" for photographs (PNG, JPEG, BMP, TIFF), ".nii.gz" for everything that has a
        position in space (NIfTI, NRRD, MetaImage, DICOM).

    Raises:
        ValueError: ``path`` is not an accepted image.
    """
    kind = image_kind(path)
    if kind is None:
        raise ValueError(
            f"Expected an image of one of the kinds {', '.join(ACCEPTED_PATTERNS)}; got "
            f"'{path}'. Convert it to one of these first."
        )
    return ".png" if kind == "photo" else ".nii.gz"
