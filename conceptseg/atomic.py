"""Writing files so that a reader sees the old content or the new one, never half of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike, suffix: str | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and move it to ``path`` when the block ends well.

    The temporary file lies in the same folder (``os.replace`` is atomic only inside one file
    system), is hidden and ends in the same suffix, because writers choose the format by it.
    When the block raises, the temporary file is removed and ``path`` stays as it was.

    Args:
        path: final file; its folder is created when missing.
        suffix: ending of the temporary file, default: all suffixes from ``path``'s last one, with
            ".nii.gz" kept whole.

    Yields:
        The temporary path to write to.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    if suffix is None:
        suffix = ".nii.gz" if final.name.lower().endswith(".nii.gz") else final.suffix
    temporary = final.parent / f".{uuid.uuid4().hex}{suffix}"
    try:
        yield temporary
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomic(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` through a temporary file in the same folder."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
