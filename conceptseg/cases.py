"""Which images of a folder are segmented."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
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
    kept, masks = without_masks([Path(case["image"]) for case in cases], path)
    if masks:
        logger.info("%d files in folders of masks are left out", len(masks))
    return [{"image": str(image)} for image in kept]


def without_masks(images: Sequence[Path], root: str | os.PathLike) -> tuple[list[Path], list[Path]]:
    """Give the images that are no masks of others, and the masks.

    Args:
        images: files and DICOM folders below `root`, or `root` itself.
        root: what the user named; it is never taken for a folder of masks.

    Raises:
        ValueError: masks alone.
    """
    beside = {image.parent for image in images if image.name not in _MASK_FOLDERS}
    masks = dict.fromkeys(image for image in images if _is_mask(image, Path(root), beside))
    kept = [image for image in images if image not in masks]
    if masks and not kept:
        raise ValueError(
            f"Expected images in '{root}', got masks alone. Give the folder of the images, or that"
            " of the masks itself."
        )
    return kept, list(masks)


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
