"""DICOM SEG files as label maps on the grid of their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import SimpleITK as sitk
from monailabel.datastore.utils.convert import dicom_to_nifti
from pydicom import dcmread


def segment_names(folder: Path) -> list[dict[str, Any]]:
    """Names and numbers of the segments in the first DICOM SEG of a folder."""
    for path in sorted(folder.glob("*.dcm")):
        segments = dcmread(path, stop_before_pixels=True).get("SegmentSequence", [])
        return [{"name": str(s.SegmentLabel), "idx": int(s.SegmentNumber)} for s in segments]
    return []


def write_label_map(folder: Path, image: str, label: Path) -> None:
    """Write the DICOM SEG of a folder as label map of its image; a SEG has only slices with segments.

    Args:
        folder: with the SEG.
        image: file of the image.
        label: file to write, the numbers of the segments as values.

    Raises:
        ValueError: it is no SEG of this image with segments that do not overlap.
    """
    try:
        converted = Path(dicom_to_nifti(str(folder), is_seg=True))
        try:
            found = sitk.ReadImage(str(converted))
        finally:
            converted.unlink(missing_ok=True)
        whole = sitk.Resample(
            found, sitk.ReadImage(image), sitk.Transform(), sitk.sitkNearestNeighbor
        )
    except Exception as error:  # pydicom-seg and SimpleITK raise whatever they meet
        raise ValueError(
            f"Expected a DICOM SEG of binary segments that do not overlap in '{folder}', got one that"
            f" cannot be read ({type(error).__name__}: {error}); write it again."
        ) from error
    if sitk.GetArrayViewFromImage(found).any() and not sitk.GetArrayViewFromImage(whole).any():
        raise ValueError(
            f"Expected a DICOM SEG of the image '{image}' in '{folder}', got one that lies beside it."
        )
    sitk.WriteImage(whole, str(label), True)
