"""Which images of a folder are segmented."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from .datalist import image_datalist
from .datalist_layouts import IMAGE_FOLDERS, MASK_FOLDERS

logger = logging.getLogger(__name__)

_IMAGE_FOLDERS = (*IMAGE_FOLDERS, "imagesTr", "imagesTs")
_MASK_FOLDERS = (*MASK_FOLDERS, "labelsTr", "labelsTs")


def images_to_segment(
    path: str | os.PathLike, spatial_dims: int | None = None
) -> list[dict[str, str]]:
    """As ``datalist.image_datalist``, without the masks of a data set.

    A folder called masks or labels is left out where images lie beside it, as files or in a folder
    of their own. Give such a folder itself to segment what is in it.

    Raises:
        FileNotFoundError: nothing at ``path``.
        ValueError: no image there, or masks alone.
    """
    cases = image_datalist(path, spatial_dims)
    paths = [Path(case["image"]) for case in cases]
    beside = {image.parent for image in paths if image.name not in _MASK_FOLDERS}
    kept = [image for image in paths if not _is_mask(image, Path(path), beside)]
    if not kept:
        raise ValueError(
            f"Expected images in '{path}', got masks alone. Give the folder of the images."
        )
    if len(kept) < len(paths):
        logger.info("%d files in folders of masks are left out", len(paths) - len(kept))
    return [{"image": str(image)} for image in kept]


def _is_mask(image: Path, root: Path, beside: set[Path]) -> bool:
    """Say whether a folder between `root` and the image holds the masks of what lies beside it.

    `beside` are the folders that hold images directly.
    """
    folders = [f for f in (image, *image.parents) if f != root and f.is_relative_to(root)]
    return any(
        folder.parent in beside or any((folder.parent / name).is_dir() for name in _IMAGE_FOLDERS)
        for folder in folders
        if folder.name in _MASK_FOLDERS and folder.is_dir()
    )
