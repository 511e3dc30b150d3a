"""CHAOS: a DICOM series per sequence, and a PNG of grey levels per slice."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pydicom
from PIL import Image

from ..image_formats import is_dicom_file
from .case import LeftOutError, RawCase
from .encodings import encode_mask
from .oddities import Oddity
from .pairs import PairsConverter
from .source_files import SourceFile

_SERIES = re.compile(
    r"(^|/)MR/(?P<patient>\d+)/(?P<sequence>T1DUAL|T2SPIR)/DICOM_anon/((?P<phase>In|Out)Phase/)?[^/]+$",
    re.IGNORECASE,
)
_GROUND = re.compile(
    r"(^|/)MR/(?P<patient>\d+)/(?P<sequence>T1DUAL|T2SPIR)/Ground/[^/]+\.png$", re.IGNORECASE
)
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


class ChaosConverter(PairsConverter):
    """One case per MR sequence: T1 in phase, T1 out of phase (same masks) and T2 SPIR."""

    def find(self, files: Sequence[SourceFile]) -> tuple[list[RawCase], list[Oddity]]:
        """Group the DICOM files by series and the PNG files by patient and sequence."""
        series: dict[tuple[str, str, str], list[SourceFile]] = {}
        grounds: dict[tuple[str, str], list[SourceFile]] = {}
        for file in files:
            if match := _GROUND.search(file.name):
                key = match["patient"], match["sequence"].upper()
                grounds.setdefault(key, []).append(file)
            elif (match := _SERIES.search(file.name)) and is_dicom_file(file.path):
                phase = (match["phase"] or "").lower()
                key = match["patient"], match["sequence"].upper(), phase
                series.setdefault(key, []).append(file)
        cases, oddities = [], []
        for (patient, sequence, phase), slices in sorted(series.items()):
            name = f"{sequence[:2]}_{phase + '_' if phase else ''}{patient}"
            masks = grounds.get((patient, sequence), [])
            if not masks:
                text = f"no Ground folder beside '{slices[0].name}'"
                oddities.append(Oddity(name, "unpaired_image", text))
                continue
            paths = tuple(mask.path for mask in masks)
            listed = (slices[0].name, masks[0].name)
            cases.append(RawCase(name, slices[0].path.parent, paths, None, f"MR_{patient}", listed))
        scans = {file.name.split("/DICOM")[0] for file in files if "/CT/" in f"/{file.name}"}
        if scans:
            text = f"{len(scans)} folders of CT, which hold the liver only"
            oddities.append(Oddity("", "not_used", text))
        return cases, oddities

    def read_label(
        self, case: RawCase, shape: tuple[int, ...], affine: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None, list[Oddity]]:
        """Put the n-th PNG onto the n-th DICOM file, both in the order of their names.

        The place of a slice in the volume comes from its position in space: the names need not run
        in the direction in which the volume is stacked.

        Raises:
            LeftOutError: other numbers or sizes of PNG than of DICOM files.
        """
        slices = sorted(path for path in case.image.iterdir() if is_dicom_file(path))
        masks = sorted(case.masks)
        if len(slices) != len(masks) or len(slices) != shape[2]:
            text = f"{len(slices)} DICOM files, {len(masks)} masks, a volume of {shape[2]} slices"
            raise LeftOutError(Oddity(case.name, "size_mismatch", text))
        label, oddities = np.zeros(shape, dtype=np.uint8), []
        to_voxel = np.linalg.inv(affine)
        for path, mask in zip(slices, masks, strict=True):
            header = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=["ImagePositionPatient"]
            )
            position = np.array(header.ImagePositionPatient, dtype=float) * _LPS_TO_RAS
            index = round(float((to_voxel @ [*position, 1.0])[2]))
            with Image.open(mask) as picture:
                values = np.asarray(picture).T[None]
            if values.shape[1:] != shape[:2]:
                text = f"slice {shape[:2]}, mask {values.shape[1:]}"
                raise LeftOutError(Oddity(case.name, "size_mismatch", text))
            label[:, :, index], remarks = encode_mask(values, self.card.encoding, case.name)
            oddities += remarks
        return label, None, oddities[:1]
