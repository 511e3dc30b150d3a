"""Looking into a received zip without unpacking it: names, sizes, kinds of files, pickles."""

from __future__ import annotations

import configparser
import io
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import torch

TENSOR_SUFFIXES = (".pt", ".pth", ".ckpt")
_PICKLES = (".pkl", ".pickle", ".joblib", ".npy", ".npz", ".ts", ".pt2", ".mar")
_PROGRAMS = (".so", ".pyd", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".pyc", ".jar", ".whl")
MAX_TOTAL_BYTES = 8 << 30
MAX_RATIO = 500  # unpacked over packed size: text packs about 10 times, zeros 1000 times
_PLAIN_ARGUMENTS = re.compile(
    r"\((sys\.(stdout|stderr),)?\)|\(\s*'[\w./-]+'\s*,?(\s*'[aw]'\s*,?)?\)|\{\}"
)


def name_problems(archive: zipfile.ZipFile) -> Iterator[str]:
    """Entries that would land outside one folder, hide, collide or fill the disk."""
    seen, tops, total = set(), set(), 0
    for entry in archive.infolist():
        name = entry.orig_filename
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or re.match(r"\w:", name):
            yield f"{name!r} leads out of the folder it is unpacked to"
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            yield f"{name!r} is a link"
        if entry.flag_bits & 0x1:
            yield f"{name!r} is encrypted"
        if name.lower() in seen:
            yield f"{name!r} occurs twice"
        if any(ord(character) < 32 for character in name):
            yield f"{name!r} has control characters"
        if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            yield f"{name!r} unpacks to {entry.file_size} bytes from {entry.compress_size}"
        seen.add(name.lower())
        tops.add(path.parts[0] if path.parts else "")
        total += entry.file_size
    if len(tops) != 1:
        yield f"expected one bundle folder in the archive, got {sorted(tops) or 'nothing'}"
    if total > MAX_TOTAL_BYTES:
        yield f"unpacks to {total} bytes, more than {MAX_TOTAL_BYTES}"


def file_problems(names: Iterable[str]) -> Iterator[str]:
    """Files that run or unpickle code when they are used."""
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in _PICKLES:
            yield f"{name!r} can carry code ({suffix})"
        if suffix in _PROGRAMS:
            yield f"{name!r} is a program ({suffix})"


def load_tensors(name: str, content: bytes) -> dict | str:
    """The state of a weights file, or why it is refused.

    `weights_only` lets nothing but tensors and plain containers through.
    """
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises whatever the pickle makes it raise
        return f"{name!r} does not load with weights_only: {type(error).__name__}"
    if not isinstance(state, dict):
        return f"{name!r} holds {type(state).__name__}, no dictionary of tensors"
    return state


def logging_problems(name: str, text: str) -> Iterator[str]:
    """Handlers of a logging.conf; Python evaluates their class and arguments."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        yield f"{name!r} cannot be parsed ({type(error).__name__})"
        return
    for section in parser.sections():
        kind = parser.get(section, "class", fallback="StreamHandler")
        if kind not in ("StreamHandler", "FileHandler", "logging.Formatter"):
            yield f"{name!r} uses the class {kind!r}"
        for option in ("args", "kwargs"):
            value = parser.get(section, option, fallback="()").strip()
            if not _PLAIN_ARGUMENTS.fullmatch(value):
                yield f"{name!r} evaluates {value!r}"
