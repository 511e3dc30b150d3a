"""What is worth a word about one image: the package's warnings, and files of a series left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib

from ..export.renaming import EXPORTED, PACKAGE
from ..image_formats import is_dicom_file


class _Collector(logging.Handler):
    """Keeps the warnings of the package, also of an exported bundle's copy, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text; other libraries' are dropped."""
        text = record.getMessage()
        is_ours = record.name.partition(".")[0] in (PACKAGE, EXPORTED)
        if is_ours and text not in self.texts:
            self.texts.append(text)


@contextmanager
def package_warnings() -> Iterator[list[str]]:
    """Collect what the package warns of in the block, even where logging is switched off."""
    collector, level = _Collector(), logging.root.manager.disable
    logging.disable(logging.INFO)
    logging.root.addHandler(collector)
    try:
        yield collector.texts
    finally:
        logging.root.removeHandler(collector)
        logging.disable(level)


def unread_slices(image: Path, mask: Path) -> list[str]:
    """A remark when a series folder has more DICOM files than its mask, a NIfTI file, has slices.

    ITK splits a series where thickness, date, size or sequence name differ, and reads one part.
    """
    if not image.is_dir():
        return []
    files = sum(map(is_dicom_file, image.iterdir()))
    slices = nib.load(mask).shape[2]
    if slices >= files:
        return []
    return [
        f"only {slices} of the series' {files} files were read and segmented: the others differ in"
        " thickness, date, size or sequence; move each part to a folder of its own"
    ]
