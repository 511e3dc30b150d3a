"""A DICOMweb server as studies: images are fetched from it, final labels sent to it as DICOM SEG."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
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

from conceptseg.image_io import ConceptImageReader

from .problems import bad_request, unknown_name
from .seg_files import segment_names, write_label_map
from .seg_index import SegIndex
from .sharing import WholeWrites
from .store import CheckedLabels, check_tag
from .terms import answering, segments_present

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
                found = [image for image in self._segs.by_image() if image in listed]
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
                    WholeWrites.add_image(self, image_id, made, self._dicom_info(image_id))
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

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse a client's upload with error 400: a label would need the DICOM files of its image."""
        raise bad_request(
            "Expected an image of the DICOMweb server, got an upload; send its DICOM files to that server,"
            " or press Run, for which the volume is kept here for a while."
        )

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """The label of an image kept here, else the newest on the server; "" where there is none.

        Args:
            label_id: the image; with `image_id`, the series of a DICOM SEG.
            label_tag: only final labels are on the server.
            image_id: the image.
        """
        kept = self._kept_label(image_id or label_id, label_tag)
        if kept or label_tag != DefaultLabelTag.FINAL:
            return kept
        if image_id:
            return self._fetch_label(image_id, [label_id])
        return self._fetch_label(label_id, self._segs.by_image().get(label_id, []))

    def _kept_label(self, image_id: str, label_tag: str) -> str:
        """File of a label that is kept here, or ""."""
        kept = LocalDatastore.get_label_uri(self, image_id, label_tag)
        return kept if kept and os.path.isfile(kept) else ""

    def _fetch_label(self, image_id: str, segs: list[str]) -> str:
        """Fetch the first of some DICOM SEG that can be read; "" where none can."""
        for series in segs:
            image = self.get_image_uri(image_id)  # a label is listed with its image
            folder = Path(self._datastore.label_path(DefaultLabelTag.FINAL)).resolve() / series
            with _alone(folder), tempfile.TemporaryDirectory() as temporary:
                self._fetch(series, folder)
                if not self._convert_to_nifti:
                    return str(folder)
                label = Path(temporary) / "label.nii.gz"
                try:
                    write_label_map(folder, image, label)
                except ValueError:
                    logger.warning(
                        "the label %s of %s is left out", series, image_id, exc_info=True
                    )
                    self._segs.leave_out(series)
                    continue
                # a segment's number is not its value; its name tells which it is
                info = self._dicom_info(series) | {"label_info": segment_names(folder)}
                return self._keep_label(image_id, str(label), info)
        return ""

    def _keep_label(self, image_id: str, file: str, info: dict[str, Any]) -> str:
        """Keep a fetched label, unless one was saved meanwhile; gives the file."""
        with self.whole:
            self._init_from_datastore_file()
            if not self._kept_label(image_id, DefaultLabelTag.FINAL):
                WholeWrites.save_label(self, image_id, file, DefaultLabelTag.FINAL, info)
        return self._kept_label(image_id, DefaultLabelTag.FINAL)

    def _download_labeled_data(self) -> None:
        """Fetch the newest label of every listed image, and forget those the server has no more."""
        kept = self._kept_series()  # first: what is saved from here on is not missing on the server
        segs, listed = self._segs.by_image(), set(self.list_images())
        for image, series in kept.items():
            if series not in segs.get(image, []) and not self.has_series(series):
                self._forget_label(image, series)
        for image, found in segs.items():
            if image in listed and not self._kept_label(image, DefaultLabelTag.FINAL):
                try:
                    self._fetch_label(image, found)
                except Exception:  # of one image; the others can be trained on
                    logger.warning("the label of %s is not fetched", image, exc_info=True)

    def _kept_series(self) -> dict[str, str]:
        """Image -> SeriesInstanceUID of its final label kept here."""
        self._init_from_datastore_file()
        found = {
            image: LocalDatastore.get_label_info(self, image, DefaultLabelTag.FINAL)
            for image in LocalDatastore.get_labeled_images(self)
        }
        return {k: v["SeriesInstanceUID"] for k, v in found.items() if v.get("SeriesInstanceUID")}

    def _forget_label(self, image: str, series: str) -> None:
        """Remove a label kept here which the server has no more, unless it was saved anew meanwhile."""
        with self.whole:
            if self._kept_series().get(image) == series:
                logger.info("the final label of %s is not on the server any more", image)
                os.unlink(self._kept_label(image, DefaultLabelTag.FINAL))
                self.refresh()


def _has_files(folder: Path) -> bool:
    """True for a folder that is there and not empty."""
    return folder.is_dir() and any(folder.iterdir())


def _alone(folder: Path) -> FileLock:
    """Lock of what belongs in a folder, for threads and processes; other folders go on meanwhile."""
    return FileLock(folder.with_name(f".{folder.name}.lock"))


def install_segment_names(keywords: list[str]) -> None:
    """Give DICOM SEG segments the names and colours of their own values.

    Both places in MONAI Label that write DICOM SEG go through one function, which is wrapped here.

    Args:
        keywords: label names by value, where a client sends none and no model has made the label.
    """
    original = getattr(dicom_module.nifti_to_dicom_seg, "original", dicom_module.nifti_to_dicom_seg)

    def named(series_dir, label, label_info, file_ext="*", use_itk=True) -> str:
        reader = ConceptImageReader(is_label=True)
        mask = reader.get_data(reader.read(label))[0]
        segments = segments_present(np.asarray(mask), label_info or [], answering.get() or keywords)
        if not segments:
            raise HTTPException(
                400, "Expected at least one labelled voxel for a DICOM SEG, got an empty mask."
            )
        return original(series_dir, label, segments, file_ext, use_itk)

    named.original = original
    dicom_module.nifti_to_dicom_seg = named
    infer_endpoint.nifti_to_dicom_seg = named
