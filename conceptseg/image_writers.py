"""Writing masks so that a file is complete or absent, as MONAI classes.

``AtomicNibabelWriter`` and ``AtomicPILWriter`` go into ``SaveImaged(writer=...)``;
``SaveSegmentationd`` chooses between the two by the input file.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, NibabelWriter, PILWriter
from monai.transforms import MapTransform, SaveImage, SaveImaged

from .atomic import atomic_path
from .image_formats import case_name, segmentation_suffix


class AtomicNibabelWriter(NibabelWriter):
    """MONAI's NIfTI writer that leaves either the finished file or nothing.

    Unlike its parent it keeps the third axis of one-slice volumes: the file has the shape of the
    image it belongs to.
    """

    def set_data_array(
        self,
        data_array: NdarrayOrTensor,
        channel_dim: int | None = 0,
        squeeze_end_dims: bool = True,
        **kwargs,
    ) -> None:
        """Take the array as the parent does, with at least three spatial axes."""
        super().set_data_array(data_array, channel_dim, squeeze_end_dims, **kwargs)
        while self.data_obj.ndim < 3:
            self.data_obj = self.data_obj[..., None]

    def write(self, filename: str | os.PathLike, verbose: bool = False, **obj_kwargs) -> None:
        """Write to a temporary file in the same folder, then move it to ``filename``."""
        with atomic_path(filename) as temporary:
            super().write(temporary, verbose=verbose, **obj_kwargs)


class AtomicPILWriter(PILWriter):
    """MONAI's PNG writer that leaves either the finished file or nothing."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **kwargs) -> None:
        """Write to a temporary file in the same folder, then move it to ``filename``."""
        with atomic_path(filename) as temporary:
            super().write(temporary, verbose=verbose, **kwargs)


class SaveSegmentationd(SaveImaged):
    """Save label maps named after their image, as PNG for photographs, as NIfTI for the rest.

    The file is ``output_dir/<case><_postfix><suffix>``; label numbers are written as they are
    (uint8, uint16 above 255). ``meta["saved_to"]`` of the entry holds the path afterwards.

    It is a ``SaveImaged`` by name, because servers that write results themselves (MONAI Label's
    stock bundle task) leave transforms of that class out.

    Args:
        keys: entries to save: (1, *spatial) label maps whose metadata name the image file.
        output_dir: folder to write to, created when missing.
        output_postfix: put behind the case name after "_"; empty for none.
        data_root_dir: folder of the images; sub-folders below it are kept below ``output_dir``. The
            one image itself, file or DICOM folder, has none.
        allow_missing_keys: do nothing for absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | os.PathLike,
        output_postfix: str = "seg",
        data_root_dir: str | os.PathLike | None = None,
        allow_missing_keys: bool = False,
    ):
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.output_postfix = f"_{output_postfix}" if output_postfix else ""
        self.data_root_dir = None if not data_root_dir else Path(data_root_dir).absolute()
        self._source_of: dict[Path, str] = {}

    def output_path(self, image_path: str | os.PathLike) -> Path:
        """Give the file in which the mask of ``image_path`` is saved."""
        folder = self.output_dir
        parent = Path(image_path).absolute().parent
        if self.data_root_dir is not None and parent.is_relative_to(self.data_root_dir):
            folder = folder / parent.relative_to(self.data_root_dir)
        name = f"{case_name(image_path)}{self.output_postfix}"
        return folder / f"{name}{segmentation_suffix(image_path)}"

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """Save every key's label map.

        Raises:
            ValueError: two images of this run would be saved under one name.
        """
        entries = dict(data)
        for key in self.key_iterator(entries):
            pred = entries[key]
            source = str(pred.meta["filename_or_obj"])
            path = self.output_path(source)
            if self._source_of.setdefault(path, source) != source:
                raise ValueError(
                    f"Expected one image per output name, got '{self._source_of[path]}' and "
                    f"'{source}' for '{path}'. Give data_root_dir to keep the sub-folders, or "
                    "rename one of them."
                )
            _save_labels(pred, path)
            pred.meta["saved_to"] = str(path)
        return entries


def _save_labels(pred: MetaTensor, path: Path) -> None:
    """Write (1, *spatial) label numbers to ``path``."""
    is_photo = path.suffix == ".png"
    suffix = path.suffix if is_photo else ".nii.gz"
    SaveImage(
        output_ext=suffix,
        output_dtype=np.uint16 if float(pred.max()) > np.iinfo(np.uint8).max else np.uint8,
        writer=AtomicPILWriter if is_photo else AtomicNibabelWriter,
        print_log=False,
    )(pred, filename=str(path)[: -len(suffix)])
