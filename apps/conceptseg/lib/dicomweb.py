"""A DICOMweb server as studies: images are fetched from it, final labels sent to it as DICOM SEG."""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path
from typing import Any

import monailabel.datastore.dicom as dicom_module
import monailabel.endpoints.infer as infer_endpoint
import numpy as np
from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom import dcmread

from conceptseg.image_io import ConceptImageReader

from .store import CheckedLabels, check_tag
from .terms import segments_present

logger = logging.getLogger(__name__)

_FETCHING = threading.Lock()  # one download at a time: two of one series would mix their files


class StudiesServer(CheckedLabels, DICOMWebDatastore):
    """A DICOMweb server; final labels are sent to it as DICOM SEG."""

    same_axes = False

    def has_series(self, series: str) -> bool:
        """True when the server has the series; also one that came after the list was fetched."""
        if not re.fullmatch(r"[0-9.]{1,64}", series):
            return False
        found = self._client.search_for_series(search_filters={"SeriesInstanceUID": series})
        return any(entry["0020000E"]["Value"] == [series] for entry in found)

    def get_image_uri(self, image_id: str) -> str:
        """The image as NIfTI at one place; MONAI Label gives a temporary copy the first time."""
        with _FETCHING:
            made = Path(super().get_image_uri(image_id))
        kept = Path(self._datastore.image_path()).resolve() / f"{image_id}.nii.gz"
        if made != kept and made.is_file() and kept.is_file():
            made.unlink()
            return str(kept)
        return str(made)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any],
        label_id: str = "",
    ) -> str:  # fmt: skip
        """Save a label after checking it."""
        check_tag(label_tag)
        if not label_filename.endswith(".bin"):
            self.check_label(image_id, label_filename)
        saved = super().save_label(image_id, label_filename, label_tag, label_info, label_id)
        dicom_module.DICOMWebDatastore.get_labeled_images.cache.clear()
        return saved

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """A label kept here, else the one on the server; MONAI Label fails on the former."""
        kept = LocalDatastore.get_label_uri(self, image_id or label_id, label_tag)
        if kept and os.path.isfile(kept):
            return kept
        if label_tag == DefaultLabelTag.FINAL and not image_id:  # saved from another computer
            self._download_labeled_data()
            return LocalDatastore.get_label_uri(self, label_id, label_tag)
        made = super().get_label_uri(label_id, label_tag, image_id)
        if image_id and made:  # a segment's number is not its value; its name tells which it is
            folder = Path(self._datastore.label_path(label_tag)) / label_id
            self.update_label_info(image_id, label_tag, {"label_info": segment_names(folder)})
        return made


def segment_names(folder: Path) -> list[dict[str, Any]]:
    """Names and numbers of the segments in the first DICOM SEG of a folder."""
    for path in sorted(folder.glob("*.dcm")):
        segments = dcmread(path, stop_before_pixels=True).get("SegmentSequence", [])
        return [{"name": str(s.SegmentLabel), "idx": int(s.SegmentNumber)} for s in segments]
    return []


def install_segment_names(keywords: list[str]) -> None:
    """Give DICOM SEG segments the names and colours of their own values.

    Both places in MONAI Label that write DICOM SEG go through one function, which is wrapped here.

    Args:
        keywords: label names by value, where a client sends none.
    """
    original = getattr(dicom_module.nifti_to_dicom_seg, "original", dicom_module.nifti_to_dicom_seg)

    def named(series_dir, label, label_info, file_ext="*", use_itk=True) -> str:
        reader = ConceptImageReader(is_label=True)
        mask = reader.get_data(reader.read(label))[0]
        segments = segments_present(np.asarray(mask), label_info or [], keywords)
        if not segments:
            raise HTTPException(
                400, "Expected at least one labelled voxel for a DICOM SEG, got an empty mask."
            )
        return original(series_dir, label, segments, file_ext, use_itk)

    named.original = original
    dicom_module.nifti_to_dicom_seg = named
    infer_endpoint.nifti_to_dicom_seg = named
