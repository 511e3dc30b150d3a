"""What a user means by IN: a file, a folder, a DICOM series, a glob pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ..cases import images_to_segment
from ..image_formats import image_kind


def find_inputs(patterns: Sequence[str], spatial_dims: int | None) -> list[Path]:
    """Images of files, folders and glob patterns, each once, in order.

    A folder whose DICOM files are one series is one image; so is each such folder below it. Masks that
    lie beside their images are left out.

    Args:
        patterns: paths or patterns with *, ?, [] or **.
        spatial_dims: of the bundle; with 2 every DICOM file is an image.

    Raises:
        FileNotFoundError: nothing at a path, or a pattern matches nothing.
        ValueError: no image there.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.exists():
            cases = images_to_segment(path, spatial_dims)
            found |= dict.fromkeys(Path(case["image"]) for case in cases)
            continue
        matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True))
        usable = [p for p in matches if p.is_dir() or image_kind(p)]
        if not matches or not usable:
            raise FileNotFoundError(
                f"Expected images at '{pattern}', got nothing there. Check the spelling; quote"
                " patterns such as '*.png'."
            )
        for match in usable:
            cases = images_to_segment(match, spatial_dims)
            found |= dict.fromkeys(Path(case["image"]) for case in cases)
    return list(found)


def common_folder(images: Sequence[Path]) -> Path:
    """The deepest folder that holds all images."""
    return Path(os.path.commonpath([image.absolute().parent for image in images]))


def stamp(image: Path) -> list[int]:
    """Newest change in ns and size in bytes of an image file, or of a series' files."""
    files = [p for p in image.iterdir() if p.is_file()] if image.is_dir() else [image]
    stats = [file.stat() for file in files]
    return [max(s.st_mtime_ns for s in stats), sum(s.st_size for s in stats)]
