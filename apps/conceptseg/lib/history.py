"""Older versions of files that are saved again."""

from __future__ import annotations

import shutil
from pathlib import Path

from conceptseg.atomic import atomic_path
from conceptseg.image_formats import known_suffix

KEPT = 5


def keep_older(file: Path, folder: Path) -> None:
    """Copy a file that is about to be replaced to `folder`; the newest few copies stay there.

    Args:
        file: its copy is named after the time at which it was written, in nanoseconds.
        folder: made when missing.
    """
    with atomic_path(folder / f"{file.stat().st_mtime_ns}{known_suffix(file)}") as temporary:
        shutil.copy2(file, temporary)
    for old in sorted(folder.glob("[0-9]*"), key=lambda path: path.name)[:-KEPT]:
        old.unlink(missing_ok=True)
