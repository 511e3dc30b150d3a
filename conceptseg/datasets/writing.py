"""Writing the image and the mask of a prepared case."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from ..atomic import atomic_path
from ..image_formats import known_suffix
from .card import DatasetCard
from .case import LoadedCase, RawCase

# Images that stay as they are, by form; others are written in the last of these formats.
_COPIED = {"picture": (".jpg", ".jpeg", ".png"), "volume": (".nii.gz",)}
_BINARY_VALUE = 255  # of the only label of a picture: visible in any viewer, and read as label 1


def write_case(case: RawCase, loaded: LoadedCase, card: DatasetCard, out: Path) -> dict[str, str]:
    """Write image and mask, atomically; their names below `out`."""
    is_picture, copied = card.form == "picture", _COPIED[card.form]
    suffix = known_suffix(case.image).lower() if case.image.is_file() else ""
    ending = suffix if suffix in copied else copied[-1]
    image, mask = f"images/{case.name}{ending}", f"masks/{case.name}{copied[-1]}"
    with atomic_path(out / image) as temporary:
        if suffix == ending:
            shutil.copyfile(case.image, temporary)
        elif is_picture:
            to_picture(loaded.image).save(temporary)
        else:
            nibabel.save(nibabel.Nifti1Image(loaded.image[0], loaded.affine), temporary)
    with atomic_path(out / mask) as temporary:
        if is_picture:
            factor = _BINARY_VALUE if len(card.keywords) == 1 else 1
            to_picture(loaded.label[None] * np.uint8(factor)).save(temporary)
        else:
            nibabel.save(nibabel.Nifti1Image(loaded.label, loaded.affine), temporary)
    return {"image": image, "label": mask}


def to_picture(array: np.ndarray) -> Image.Image:
    """(C, W, H) as a PIL image; values beyond 8 bit are scaled to the image's range."""
    array = np.moveaxis(np.asarray(array), 0, -1).swapaxes(0, 1)
    if array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 255:
            array = (array - low) * (255.0 / max(high - low, 1e-9))
        array = np.rint(array).astype(np.uint8)
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
