"""Demonstration studies: the hippocampal regions of the MNI152 T1 template that nilearn carries."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np

from .atomic import atomic_path

# MNI152 world coordinates in mm (RAS): a box around the right hippocampus, as wide as the training
# crops; the left one is its mirror image
REGION = {"x": (12, 48), "y": (-46, 5), "z": (-32, 5)}


def write_demo_studies(folder: str | os.PathLike) -> list[Path]:
    """Write the left and the right hippocampal region of a real T1 template as NIfTI studies.

    Args:
        folder: where to write; files that exist are kept.

    Returns:
        The two files, 1 mm, RAS, each with the affine of its place in the template.

    Raises:
        ModuleNotFoundError: without nilearn.
    """
    paths = {side: Path(folder) / f"mni152_{side}.nii.gz" for side in ("left", "right")}
    if all(path.exists() for path in paths.values()):
        return list(paths.values())
    try:
        from nilearn.datasets import load_mni152_template
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "expected nilearn, which carries the template, got none; install conceptseg[demo]"
        ) from error
    template = nib.as_closest_canonical(load_mni152_template(resolution=1))
    for side, path in paths.items():
        with atomic_path(path) as temporary:
            nib.save(_crop(template, side), temporary)
    return list(paths.values())


def _crop(template: nib.Nifti1Image, side: str) -> nib.Nifti1Image:
    """The region of one side of a canonical (RAS) image."""
    low, high = (np.array([REGION[axis][end] for axis in "xyz"], dtype=float) for end in (0, 1))
    if side == "left":
        low[0], high[0] = -high[0], -low[0]
    to_voxel = np.linalg.inv(template.affine)
    start, stop = (np.rint(nib.affines.apply_affine(to_voxel, c)).astype(int) for c in (low, high))
    return template.slicer[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
