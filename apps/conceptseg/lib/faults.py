"""Whether a file is at fault when an image cannot be read, or something that passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from monai.data import MetaTensor

from conceptseg.image_formats import UnusableImageError


class FileState:
    """A file as it is now.

    Args:
        path: of the file; it may be missing.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen = self._look()

    def _look(self) -> tuple[int, int] | None:
        """Time and size, None where the file is missing."""
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def has_changed(self) -> bool:
        """True when the file was written since, as by a copy that was not at its end."""
        return self._look() != self._seen


def read_image(transform: Callable[[dict[str, Any]], dict[str, Any]], path: str) -> MetaTensor:
    """The preprocessed image (C, *spatial) of a file.

    Raises:
        UnusableImageError: the file's content is at fault, so that another try would not help.
        FileNotFoundError: it is gone.
        RuntimeError: anything else, such as a lack of memory.
    """
    try:
        return transform({"image": path})["image"]
    except Exception as error:  # MONAI wraps what a transform raises
        causes = list(_causes(error))
        gone = [c for c in causes if isinstance(c, FileNotFoundError)]
        if gone:
            raise FileNotFoundError(*gone[-1].args) from error
        faults = [c for c in causes if isinstance(c, (ValueError, TypeError))]
        if not faults or any(map(_passes, causes)):
            raise RuntimeError(f"'{path}' cannot be read now: {causes[-1]}") from error
        raise UnusableImageError(str(faults[-1])) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from, the first cause last."""
    while error is not None:
        yield error
        error = error.__cause__


def _passes(error: BaseException) -> bool:
    """True for an error of the computer, not of a file's content; those of the system have a number."""
    return isinstance(error, MemoryError) or bool(getattr(error, "errno", 0))
