"""What a user means by IN: a file, a folder, a DICOM series, a glob pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from ..cases import without_masks
from ..datalist import image_datalist
from ..datalist_layouts import images_below
from ..image_formats import image_kind


def find_inputs(patterns: Sequence[str], spatial_dims: int | None) -> tuple[list[Path], list[Path]]:
    """Images of files, folders and glob patterns, each once, in order.

    A folder whose DICOM files are one series is one image; so is each such folder below it. Masks that
    lie beside their images are left out, unless their folder, or a mask itself, is named.

    Args:
        patterns: paths or patterns with *, ?, [] or **.
        spatial_dims: of the bundle; with 2 every DICOM file is an image.

    Returns:
        The images, and the masks that are left out.

    Raises:
        FileNotFoundError: nothing at a path, or a pattern matches nothing.
        ValueError: no image there.
    """
    kept: dict[Path, None] = {}
    left_out: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.exists():
            root = path
            images = [Path(case["image"]) for case in image_datalist(path, spatial_dims)]
        else:
            root, images = _fixed_part(path), _matches(path, spatial_dims)
        found, masks = without_masks(images, root)
        kept |= dict.fromkeys(found)
        left_out |= dict.fromkeys(masks)
    return list(kept), [mask for mask in left_out if mask not in kept]


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    return Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _matches(pattern: Path, spatial_dims: int | None) -> list[Path]:
    """Images that a pattern matches, and those in the folders that it matches."""
    images: dict[Path, None] = {}
    for match in map(Path, sorted(glob.glob(str(pattern), recursive=True))):
        if match.is_dir():
            images |= dict.fromkeys(images_below(match, spatial_dims))
        elif image_kind(match):
            images[match] = None
    if not images:
        raise FileNotFoundError(
            f"Expected images at '{pattern}', got nothing there. Check the spelling; quote"
            " patterns such as '*.png'."
        )
    return list(images)


def common_folder(images: Sequence[Path]) -> Path:
    """The deepest folder that holds all images.

    Raises:
        ValueError: they lie on several drives.
    """
    folders = [image.absolute().parent for image in images]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        drives = sorted({folder.drive for folder in folders})
        raise ValueError(
            f"Expected images on one drive, got {', '.join(drives)}. Run the command for each drive."
        ) from error


def stamp(image: Path) -> list[int]:
    """Newest change in ns and size in bytes of an image file, or of a series' files."""
    files = [p for p in image.iterdir() if p.is_file()] if image.is_dir() else [image]
    stats = [file.stat() for file in files]
    return [max(s.st_mtime_ns for s in stats), sum(s.st_size for s in stats)]
