"""Folders of studies, with images and labels that are whole or absent."""

from __future__ import annotations

import filecmp
import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException
from monailabel.interfaces.datastore import DefaultLabelTag

from conceptseg.image_checks import corner_shift
from conceptseg.image_formats import SUFFIXES, known_suffix
from conceptseg.image_headers import shape_and_affine
from conceptseg.image_io import ConceptImageReader

from .history import keep_older
from .problems import bad_request, unknown_name
from .sharing import SharedList, WholeWrites
from .uploads import Uploads

logger = logging.getLogger(__name__)

# MONAI Label's own list lacks .jpeg, DICOM files, MetaImage and what cameras write in capitals.
EXTENSIONS = [
    f"*{written}"
    for suffixes in SUFFIXES.values()
    for suffix in suffixes
    for written in (suffix, suffix.upper())
]
MOVED_VOXELS = 0.1  # shift of a corner from which on two images are not the same
_SAFE_ID = re.compile(r"[^/\\\x00]{1,255}")
_SAFE_TAG = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_id(kind: str, value: str) -> None:
    """Refuse names that could lead out of the studies folder with error 400."""
    if not _SAFE_ID.fullmatch(value) or value in (".", "..") or value.startswith("~"):
        raise bad_request(
            f"Expected the {kind} as a name in the studies, got {value[:80]!r}; paths are refused."
        )


def check_tag(value: str) -> None:
    """Refuse label tags that could lead out of the labels folder with error 400."""
    if not _SAFE_TAG.fullmatch(value) or set(value) <= {"."}:
        raise bad_request(
            f"Expected 'tag' as a word such as final or original, got {value[:80]!r}."
        )


class CheckedLabels(SharedList):
    """For a `LocalDatastore`: labels are checked before anything is written."""

    same_axes = True  # labels are files beside their images; a server brings them to its own axes

    def check_label(self, image_id: str, label_file: str) -> None:
        """Refuse with error 400 what is no label map of the image's size."""
        try:
            reader = ConceptImageReader(is_label=True)
            label, meta = reader.get_data(reader.read(label_file))
        except Exception as error:
            raise bad_request(
                f"Expected a readable label map for '{image_id}', got a file that is none"
                f" ({type(error).__name__}); export it again as NIfTI, NRRD or PNG."
            ) from error
        shape, affine = self._image_grid(image_id)
        found = tuple(n for n in label.shape[1:] if n > 1)
        if shape is not None and found != tuple(n for n in shape if n > 1):
            raise bad_request(
                f"Expected a label map of the size of '{image_id}', {shape}, got {label.shape[1:]};"
                " save it on the grid of the image."
            )
        if not self.same_axes or shape is None or len(found) < 3:  # photographs have no position
            return
        shift = corner_shift(meta["affine"], affine, shape)
        if shift > 1:
            raise bad_request(
                f"Expected a label map at the position of '{image_id}', got one of which a corner is"
                f" {shift:.1f} voxels away (flipped, moved or other axes); save it on the grid of the"
                " image."
            )

    def _image_grid(self, image_id: str) -> tuple[tuple[int, ...] | None, np.ndarray | None]:
        """Voxels of the image and its affine, None where it cannot be read."""
        try:
            return shape_and_affine(self.get_image_uri(image_id))
        except Exception:
            logger.warning("image %s cannot be read", image_id, exc_info=True)
            return None, None

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """ZIP file of the images with a final label."""
        if not self.datalist():
            raise HTTPException(
                404, "Expected images with a final label to pack, got none; submit a label first."
            )
        return super().get_dataset_archive(limit_cases)


class StudiesFolder(CheckedLabels, WholeWrites):
    """A folder of images.

    Args:
        path: of the folder.
        options: of MONAI Label's `LocalDatastore`.
    """

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self.uploads = Uploads()
        self.watch_list()

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Save a label after checking it; the old one stays until the new one is whole.

        Final labels that are saved anew are kept in `labels/history`.
        """
        check_tag(label_tag)
        image_id = self._plain_name(image_id)
        if image_id not in self._datastore.objects:
            raise unknown_name("image", image_id, self._datastore.objects)
        is_final = label_tag == DefaultLabelTag.FINAL
        if is_final:
            self.uploads.check_label(_client(label_info), image_id)
        self.check_label(image_id, label_filename)
        with self.whole:
            if is_final:
                self._keep_older(image_id, label_filename)
            return super().save_label(image_id, label_filename, label_tag, label_info)

    def _keep_older(self, image_id: str, new: str) -> None:
        """Keep the final label of an image where another one takes its place."""
        self._init_from_datastore_file()
        old = Path(self.get_label_uri(image_id, DefaultLabelTag.FINAL))
        if old.is_file() and not filecmp.cmp(old, new, shallow=False):
            keep_older(old, Path(self._datastore.label_path("history")) / image_id)

    def _plain_name(self, image_id: str) -> str:
        """A name in the studies; Slicer names volumes after their files, suffix included."""
        if image_id in self._datastore.objects:
            return image_id
        return image_id.removesuffix(known_suffix(image_id))

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image that was sent to the server, after checking that it can be read.

        An image of the studies is never replaced: the same one again changes nothing, another one
        under its name is refused.
        """
        image_id = self._plain_name(image_id or self._to_id(os.path.basename(image_filename))[0])
        check_id("image", image_id)
        with self.uploads.upload(_client(image_info), image_id):
            return self._add_checked(image_id, image_filename, image_info)

    def _add_checked(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add a readable image where no other one has its name."""
        extension = self._to_id(os.path.basename(image_filename))[1]
        if f"*{extension}" not in self._extensions:
            known = dict.fromkeys(e[1:].lower() for e in self._extensions)
            raise bad_request(
                f"Expected an image file that ends in {', '.join(known)},"
                f" got '{extension}'; export it in one of these formats."
            )
        try:
            sent = _content(image_filename)
        except Exception as error:
            raise bad_request(
                f"Expected a readable image for '{image_id}', got a file that is none"
                f" ({type(error).__name__}); export it again."
            ) from error
        with self.whole:
            self._init_from_datastore_file()
            target = Path(self._datastore.image_path()) / self._filename(image_id, extension)
            if image_id in self._datastore.objects:
                _refuse_another(image_id, sent, self.get_image_uri(image_id))
                return image_id
            if target.exists():  # copied there just now, and not in the list yet
                _refuse_another(image_id, sent, target)
                image_filename = str(target)
            return super().add_image(image_id, image_filename, image_info)


def _client(info: dict[str, Any] | None) -> str:
    """Who sent something; "" for the server itself."""
    return str((info or {}).get("client_id") or "")


def _content(file: str | Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Voxels (C, *spatial) and metadata of an image file."""
    reader = ConceptImageReader()
    return reader.get_data(reader.read(str(file)))


def _refuse_another(
    image_id: str, sent: tuple[np.ndarray, dict[str, Any]], file: str | Path
) -> None:
    """Error 400 where an image of the studies and one sent under its name differ."""
    try:
        if _is_same(sent, _content(file)):
            return
    except Exception:  # it stays as it is, whatever is wrong with it
        logger.warning("image %s cannot be read", image_id, exc_info=True)
    raise bad_request(
        f"Expected a new name for this image, got '{image_id}', which another image of the studies"
        " has; rename the volume and upload it again (in Slicer press Upload Volume before Submit"
        " Label)."
    )


def _is_same(
    one: tuple[np.ndarray, dict[str, Any]], two: tuple[np.ndarray, dict[str, Any]]
) -> bool:
    """True for the same voxels at the same place; programs round what they write."""
    (first, meta), (second, other) = one, two
    first, second = np.squeeze(first), np.squeeze(second)
    if first.shape != second.shape or not np.allclose(first, second, equal_nan=True):
        return False
    if meta["is_photo"] or other["is_photo"]:
        return True
    return corner_shift(meta["affine"], other["affine"], first.shape) < MOVED_VOXELS


def final_pairs(datastore) -> list[dict[str, Any]]:
    """Images with a final label: their paths and what was saved with the label, sorted by image.

    Returns:
        Per image "image", "label", "label_info" (names and values of the client's segments) and, where
        the annotator corrected concepts, "corrected_concepts".
    """
    pairs = []
    found_pairs = datastore.datalist()
    # paths are resolved: behind a link the image file may have another name
    names = {
        datastore.get_label_uri(name, DefaultLabelTag.FINAL): name
        for name in labeled_ids(datastore)
    }
    for found in found_pairs:
        if (name := names.get(found["label"])) is None:  # removed meanwhile
            continue
        info = datastore.get_label_info(name, DefaultLabelTag.FINAL)
        pair = {
            "image": found["image"],
            "label": found["label"],
            "label_info": info.get("label_info"),
        }
        if info.get("corrected_concepts"):
            pair["corrected_concepts"] = info["corrected_concepts"]
        pairs.append(pair)
    return sorted(pairs, key=lambda pair: pair["image"])


def labeled_ids(datastore) -> list[str]:
    """Names of the images with a final label kept here."""
    objects = datastore._datastore.objects
    return sorted(k for k, v in objects.items() if v.labels.get(DefaultLabelTag.FINAL))
