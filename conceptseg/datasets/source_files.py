"""The files of a data set as downloaded: a folder, an archive, or a folder of archives."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ..atomic import atomic_path

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
UNREADABLE_ARCHIVES = (".rar", ".7z")
_JUNK = ("__macosx",)

Progress = Callable[[Iterable, str], Iterable]


@dataclass(frozen=True)
class SourceFile:
    """A file of the data set.

    Attributes:
        name: path below the source, POSIX; for archives, below the archive.
        path: where it lies.
    """

    name: str
    path: Path


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of an archive that can be unpacked."""
    return path.name.lower().endswith(ARCHIVES)


def list_files(folder: Path) -> list[SourceFile]:
    """All files below `folder`, sorted by name; hidden ones and those of archivers are left out."""
    found = []
    for current, subfolders, names in os.walk(folder):
        subfolders[:] = [n for n in subfolders if n[0] != "." and n.lower() not in _JUNK]
        for name in names:
            if not name.startswith("."):
                path = Path(current) / name
                found.append(SourceFile(path.relative_to(folder).as_posix(), path))
    return sorted(found, key=lambda file: file.name)


def unpack(archive: Path, folder: Path, progress: Progress) -> None:
    """Unpack an archive, and archives in it, into `folder`; files already there are kept.

    Args:
        archive: .zip, .tar, .tar.gz or .tgz.
        folder: where to; created.
        progress: wraps the members and is told what they are.

    Raises:
        ValueError: not a readable archive, or members that would leave the folder.
    """
    members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    try:
        for name, size, opened in progress(members(archive), f"unpacking {archive.name}"):
            target = folder / _safe(name, archive)
            if target.is_file() and target.stat().st_size == size:
                continue
            with (
                atomic_path(target) as temporary,
                opened() as stream,
                open(temporary, "wb") as out,
            ):
                shutil.copyfileobj(stream, out)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(
            f"Expected a complete archive, got '{archive}' ({error}). Download it again."
        ) from error
    for inner in [file.path for file in list_files(folder) if is_archive(file.path)]:
        unpack(inner, inner.with_suffix("").with_suffix(""), progress)
        inner.unlink()


def _zip_members(archive: Path) -> list[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, size and opener of the files of a zip."""
    source = zipfile.ZipFile(archive)
    return [
        (info.filename, info.file_size, lambda info=info: source.open(info))
        for info in source.infolist()
        if not info.is_dir()
    ]


def _tar_members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """The same of a tar, in the order of the file: compressed ones cannot jump. No links."""
    with tarfile.open(archive) as source:
        for info in source:
            if info.isfile():
                yield info.name, info.size, lambda info=info: source.extractfile(info)


def _safe(name: str, archive: Path) -> PurePosixPath:
    """A member's path; refuse those that leave the folder they are unpacked in."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(
            f"Expected members below the archive's own folder in '{archive}', got '{name}'. Do not"
            " use this archive; download it from its publisher."
        )
    return path


def archives_of(source: Path) -> list[Path]:
    """The archives that `source` is or holds directly.

    Raises:
        ValueError: archives of a kind that cannot be unpacked here, and none that can.
    """
    if source.is_file():
        candidates = [source]
    else:
        candidates = sorted(child for child in source.iterdir() if child.is_file())
    found = [path for path in candidates if is_archive(path)]
    others = [p.name for p in candidates if p.name.lower().endswith(UNREADABLE_ARCHIVES)]
    if not found and (others or source.is_file()):
        raise ValueError(
            f"Expected a folder or one of {', '.join(ARCHIVES)}, got"
            f" '{', '.join(others) or source.name}'. Unpack it with a program of your own and give"
            " the folder."
        )
    return found
