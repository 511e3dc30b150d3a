"""SHA-256 of every file of a bundle, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ..atomic import write_text_atomic

SUMS_FILE = "SHA256SUMS"
_BLOCK_BYTES = 1 << 20


def sha256_of(stream: BinaryIO) -> str:
    """SHA-256 of what is left of a stream, as hexadecimal digits."""
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as stream:
        return sha256_of(stream)


def folder_sums(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file below `folder` but the list itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in files
        if path.name != SUMS_FILE
    }


def write_sums(folder: Path) -> None:
    """Write the list of `folder`."""
    lines = [f"{digest}  {name}\n" for name, digest in folder_sums(folder).items()]
    write_text_atomic(folder / SUMS_FILE, "".join(lines))


def read_sums(text: str) -> dict[str, str]:
    """Relative path -> SHA-256 of a list's text.

    Raises:
        ValueError: a line is not "64 digits, two spaces, path".
    """
    sums = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise ValueError(f"Expected 'SHA-256  path' in {SUMS_FILE}, got '{line}'. Repair it.")
        sums[name] = digest.lower()
    return sums


def compare_sums(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What differs between two lists, as readable lines; empty when nothing does."""
    problems = [f"{name}: listed but missing" for name in sorted(expected.keys() - found.keys())]
    problems += [f"{name}: not listed" for name in sorted(found.keys() - expected.keys())]
    return problems + [
        f"{name}: SHA-256 differs from the list"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
