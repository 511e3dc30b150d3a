"""A DICOMweb server as studies: images are fetched from it, final labels sent to it as DICOM SEG."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import monailabel.datastore.dicom as dicom_module
import monailabel.endpoints.infer as infer_endpoint
import numpy as np
from cachetools import TTLCache
from fastapi import HTTPException
from filelock import FileLock
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom import dcmread

from conceptseg.image_io import ConceptImageReader

from .problems import unknown_name
from .seg_index import SegIndex
from .sharing import WholeWrites
from .store import CheckedLabels, check_tag
from .terms import segments_present

logger = logging.getLogger(__name__)


class StudiesServer(CheckedLabels, DICOMWebDatastore, WholeWrites):
    """A DICOMweb server; final labels are sent to it as DICOM SEG."""

    same_axes = False

    @classmethod
    def of(cls, store: DICOMWebDatastore) -> StudiesServer:
        """MONAI Label's datastore with this class's methods; building anew would ask the server twice."""
        store.__class__ = cls
        store._segs = SegIndex(store._client)
        store._labelled = TTLCache(1, settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY)
        store._listing = threading.Lock()  # MONAI Label's own caches are not made for threads
        store._counting = threading.Lock()
        store.watch_list()
        return store

    def list_images(self) -> list[str]:
        """Series on the server that its search filter finds; remembered for a while."""
        with self._listing:
            return list(super().list_images())

    def get_labeled_images(self, label_tag=None, labels=None) -> list[str]:
        """Listed series with a DICOM SEG on the server, each once; remembered for a while."""
        with self._counting:
            found = self._labelled.get("images")
            if found is None:
                listed = set(self.list_images())
                found = [image for image in self._segs.newest() if image in listed]
                self._labelled["images"] = found
            return list(found)

    def has_series(self, series: str) -> bool:
        """True when the server has the series; also one that came after the list was fetched."""
        if not re.fullmatch(r"[0-9.]{1,64}", series):
            return False
        found = self._client.search_for_series(search_filters={"SeriesInstanceUID": series})
        return any(entry["0020000E"]["Value"] == [series] for entry in found)

    def get_image_uri(self, image_id: str) -> str:
        """The image as NIfTI, or as folder of DICOM files where the server's settings say so."""
        folder = Path(self._datastore.image_path()).resolve() / image_id
        kept = folder.with_name(f"{image_id}.nii.gz")
        wanted = kept if self._convert_to_nifti else folder
        if _has_files(folder) and wanted.exists():
            return str(wanted)
        if not _has_files(folder) and not self.has_series(image_id):
            raise unknown_name("image", image_id, self.list_images())
        with _alone(folder):
            self._fetch(image_id, folder)
            if not wanted.exists():
                made = dicom_module.dicom_to_nifti(str(folder))
                try:
                    self.add_image(image_id, made, self._dicom_info(image_id))
                finally:
                    Path(made).unlink(missing_ok=True)
        return str(wanted)

    def _fetch(self, series: str, folder: Path) -> None:
        """Download a series; its folder is there whole or not at all."""
        if _has_files(folder):
            return
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # of a server that was killed
        dicom_module.dicom_web_download_series(
            None, series, str(part), self._client, self._fetch_by_frame
        )
        os.replace(part, folder)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any],
        label_id: str = "",
    ) -> str:  # fmt: skip
        """Save a label after checking it."""
        check_tag(label_tag)
        if not label_filename.endswith(".bin"):
            self.check_label(image_id, label_filename)
        saved = super().save_label(image_id, label_filename, label_tag, label_info, label_id)
        with self._counting:
            self._labelled.clear()
        return saved

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """A label kept here, else the one on the server; MONAI Label fails on the former."""
        kept = LocalDatastore.get_label_uri(self, image_id or label_id, label_tag)
        if kept and os.path.isfile(kept):
            return kept
        if label_tag != DefaultLabelTag.FINAL:
            return kept
        image_id, series = (
            (image_id, label_id) if image_id else (label_id, self._segs.newest().get(label_id))
        )
        if series is None:
            return kept
        self.get_image_uri(image_id)  # a label is listed with its image
        folder = Path(self._datastore.label_path(label_tag)).resolve() / series
        with _alone(folder):
            self._fetch(series, folder)
            made = super().get_label_uri(series, label_tag, image_id)
        if made:  # a segment's number is not its value; its name tells which it is
            self.update_label_info(image_id, label_tag, {"label_info": segment_names(folder)})
        return made

    def _download_labeled_data(self) -> None:
        """Fetch the newest label of every listed image, and forget those the server has no more."""
        segs, listed = self._segs.newest(), set(self.list_images())
        gone = [image for image in LocalDatastore.get_labeled_images(self) if image not in segs]
        for image in gone:
            logger.info("the final label of %s is not on the server any more", image)
            Path(LocalDatastore.get_label_uri(self, image, DefaultLabelTag.FINAL)).unlink(
                missing_ok=True
            )
        if gone:
            self.refresh()
        for image, series in segs.items():
            if image in listed:
                self.get_label_uri(series, DefaultLabelTag.FINAL, image)


def _has_files(folder: Path) -> bool:
    """True for a folder that is there and not empty."""
    return folder.is_dir() and any(folder.iterdir())


def _alone(folder: Path) -> FileLock:
    """Lock of what belongs in a folder, for threads and processes; other folders go on meanwhile."""
    return FileLock(folder.with_name(f".{folder.name}.lock"))


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
