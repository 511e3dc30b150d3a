"""Write a volume as a DICOM MR series, for demonstrations and tests of DICOMweb and OHIF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from .atomic import atomic_path

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
HIGHEST = 1000  # stored value of the brightest voxel


def write_mr_series(
    folder: str | os.PathLike,
    volume: np.ndarray,
    name: str,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
) -> str:
    """Write an axial MR series, one file per slice.

    All identifiers follow from `name`, so that writing again gives the same series.

    Args:
        folder: where to write.
        volume: (X, Y, Z) in RAS order; intensities are scaled to 0..1000.
        name: of patient and study.
        spacing: of the voxels in mm.
        origin: LPS position in mm of the first pixel of the lowest slice, which shows the last voxel of
            X and Y.

    Returns:
        The SeriesInstanceUID.

    Raises:
        ValueError: the volume has not three axes or only one intensity.
    """
    if volume.ndim != 3 or np.ptp(volume) == 0:
        raise ValueError(
            f"expected a volume (X, Y, Z) with different intensities, got shape {volume.shape};"
            " give one channel of an image"
        )
    scaled = np.rint((volume - volume.min()) / np.ptp(volume) * HIGHEST).astype(np.uint16)
    for z in range(volume.shape[2]):
        # rows run to the back and columns to the patient's left (LPS), so both axes are turned round
        position = [float(origin[0]), float(origin[1]), float(origin[2] + z * spacing[2])]
        dataset = _slice(scaled[::-1, ::-1, z].T, name, z, position, spacing)
        with atomic_path(Path(folder) / f"{z:04d}.dcm") as temporary:
            dcmwrite(temporary, dataset, write_like_original=False)
    return str(generate_uid(entropy_srcs=[name, "series"]))


def _slice(
    pixels: np.ndarray, name: str, z: int, position: list[float], spacing: Sequence[float]
) -> FileDataset:
    """The DICOM file of slice `z` with its pixels (rows, columns)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MR_IMAGE_STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name, f"slice {z}"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SOPClassUID = MR_IMAGE_STORAGE
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[name, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[name, "series"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[name, "frame"])
    dataset.PatientName, dataset.PatientID, dataset.StudyID = name, name, "1"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.AccessionNumber = "", "", ""
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20260101"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.Modality, dataset.ReferringPhysicianName, dataset.Manufacturer = "MR", "", ""
    dataset.StudyDescription = dataset.SeriesDescription = name
    dataset.SeriesNumber, dataset.InstanceNumber = 1, z + 1
    dataset.PositionReferenceIndicator = ""
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "NONE", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.EchoTrainLength = "3D", 3, 1
    dataset.RepetitionTime = 10
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = position
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = spacing[2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = HIGHEST // 2, HIGHEST
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    return dataset
