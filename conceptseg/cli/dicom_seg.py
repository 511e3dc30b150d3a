"""A mask on a DICOM series' grid as a DICOM Segmentation object, by highdicom (extra "dicom")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom

from ..atomic import atomic_path
from ..dicom_terms import codes_of
from ..image_formats import is_dicom_file

_TOLERANCE_VOXELS = 0.05  # distance of a slice from the mask's grid that counts as on it
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
# Attributes of type 2 (present, may be empty) of patient and study that highdicom copies;
# de-identified files often lack them.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"),
    *("StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)


def import_highdicom() -> Any:
    """The library.

    Raises:
        ModuleNotFoundError: the extra "dicom" is not installed.
    """
    try:
        import highdicom
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Expected highdicom, which writes DICOM SEG, got none. Install the extra: pip install"
            " 'conceptseg[dicom]'; the mask is written as NIfTI."
        ) from error
    return highdicom


def read_series(source: Path) -> list[pydicom.Dataset]:
    """The image slices of a DICOM file or series folder.

    Raises:
        ValueError: no slice with a position in space (photographs have none).
    """
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    slices = [pydicom.dcmread(file) for file in files if is_dicom_file(file)]
    placed = [s for s in slices if "ImagePositionPatient" in s and "FrameOfReferenceUID" in s]
    if not placed:
        raise ValueError(
            f"Expected slices with a position in space in '{source}', got none. A DICOM SEG is not"
            " written; the mask is there as NIfTI."
        )
    for one in placed:
        for name in _MAY_BE_EMPTY:
            if name not in one:
                setattr(one, name, None if name.endswith(("Date", "Time")) else "")
    return placed


def frames_of(
    mask: np.ndarray, affine: np.ndarray, slices: Sequence[pydicom.Dataset]
) -> np.ndarray:
    """The mask's plane for each slice, found by the slices' positions.

    Args:
        mask: (X, Y, Z) label map; X runs along the rows of a slice, Y along its columns.
        affine: (4, 4) voxel to world in mm, RAS.
        slices: of the series, in any order.

    Returns:
        (N, rows, columns) uint8.

    Raises:
        ValueError: a slice does not lie on the mask's grid.
    """
    inverse = np.linalg.inv(affine)
    frames = []
    for one in slices:
        corner = np.array(one.ImagePositionPatient, dtype=float) * _LPS_TO_RAS
        x, y, z = nib.affines.apply_affine(inverse, corner)
        index = round(z)
        is_on_grid = max(abs(x), abs(y), abs(z - index)) < _TOLERANCE_VOXELS
        size = (one.Columns, one.Rows)
        if not is_on_grid or not 0 <= index < mask.shape[2] or mask.shape[:2] != size:
            raise ValueError(
                f"Expected the mask on the series' grid, got slice '{one.SOPInstanceUID}' of {size}"
                f" pixels at voxel ({x:.2f}, {y:.2f}, {z:.2f}) of a mask {mask.shape}. Use the NIfTI."
            )
        frames.append(mask[:, :, index].T)
    return np.stack(frames).astype(np.uint8)


def write_dicom_seg(
    source: Path, mask_file: Path, target: Path, keywords: Sequence[str], model: str, version: str
) -> None:
    """Write `target`, the DICOM SEG of a mask that the bundle saved as NIfTI.

    Args:
        source: DICOM file or series folder that was segmented.
        mask_file: the NIfTI label map on its grid.
        target: file to write.
        keywords: label names; value k is `keywords[k - 1]`.
        model: name of the bundle.
        version: of the bundle.

    Raises:
        ModuleNotFoundError: no highdicom.
        ValueError: the series has no positions, or the mask is not on its grid.
    """
    highdicom = import_highdicom()
    slices = read_series(source)
    image = nib.load(mask_file)
    frames = frames_of(np.asarray(image.dataobj), image.affine, slices)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model,
        version=version,
        family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
    )
    segmentation = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=frames,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(highdicom, number, name, algorithm)
            for number, name in enumerate(keywords, start=1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=100,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="conceptseg",
        manufacturer_model_name=model,
        software_versions=version,
        device_serial_number="0",
        series_description=f"{model} (research only)"[:64],
        omit_empty_frames=bool(frames.any()),
    )
    with atomic_path(target) as temporary:
        segmentation.save_as(temporary)


def _describe(highdicom: Any, number: int, name: str, algorithm: Any) -> Any:
    """Segment description with its codes."""
    category, kind = (
        highdicom.sr.CodedConcept(code.value, code.scheme_designator, code.meaning)
        for code in codes_of(name)
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=highdicom.UID(),
        tracking_id=name,
    )
