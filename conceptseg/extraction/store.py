"""A concept file: append-only JSONL that survives a kill, one writer at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from threading import Lock

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from ..concepts.described import Answer, Description, Value
from .records import LINE, AnswerLine, ConceptLine, CorrectionLine, FailureLine, Line

logger = logging.getLogger(__name__)
Key = tuple[str, str]  # case, keyword


def read_lines(path: str | os.PathLike) -> Iterator[Line]:
    """The lines of a concept file, one at a time.

    A last line without its end is what a killed run left; it is passed over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is none, with its number.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"expected a concept file (JSONL), got '{path}', which does not exist; run"
            " configs/extract_concepts.yaml first, or correct the path"
        )
    with open(path, "rb") as file:
        for number, text in enumerate(file, start=1):
            if not text.endswith(b"\n"):
                logger.warning("'%s' ends in half a line, left by a stopped run; ignored.", path)
                return
            try:
                yield LINE.validate_json(text)
            except ValidationError as error:
                raise ValueError(
                    f"expected a line of a concept file, got line {number} of '{path}':"
                    f" {error.errors()[0]['msg']}; repair or delete the line"
                ) from error


class ConceptFile:
    """A concept file open for writing.

    Each line is one write to a file opened for appending, so that it is there whole or, after a kill
    in the middle of it, is cut off when the file is opened next. Memory holds the keys, and answers
    only of labels that are not yet described.

    Args:
        path: JSONL file; its folder is created when missing.

    Raises:
        BlockingIOError: another process writes to it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock_file = self.path.with_name(f".{self.path.name}.lock")
        self._only_writer = FileLock(lock_file, thread_local=False)
        try:
            self._only_writer.acquire(timeout=0)
        except Timeout as error:
            raise BlockingIOError(
                f"expected to be the only writer of '{self.path}', got another process that has it"
                " open; wait for it, or choose another output_file"
            ) from error
        self._file = FileIO(self.path, "a+")  # unbuffered: a line is one write
        self._lock = Lock()
        self._cut_half_line()
        self.described: dict[Key, str] = {}  # settings of the newest description
        self.failed: dict[Key, str] = {}
        self.answers: dict[Key, list[Answer]] = {}
        try:
            for line in read_lines(self.path):
                self._note(line)
        except ValueError:
            self.close()
            raise

    def _cut_half_line(self) -> None:
        """Remove what a kill left of the last line."""
        end = size = self._file.seek(0, os.SEEK_END)
        while end:
            start = self._file.seek(max(0, end - 65536))
            at = self._file.read(end - start).rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end < size:
            self._file.truncate(end)
            logger.warning("cut half a line, left by a stopped run, off '%s'.", self.path)

    def _note(self, line: Line) -> None:
        """Remember what resuming needs of a line."""
        key = (line.case, line.keyword)
        if isinstance(line, AnswerLine):
            self.answers.setdefault(key, []).append(line.answer)
        elif isinstance(line, ConceptLine):
            self.described[key] = line.settings
            self.failed.pop(key, None)
            self.answers.pop(key, None)
        elif isinstance(line, FailureLine):
            self.failed[key] = line.reason

    def append(self, line: Line) -> None:
        """Write a line; may be called from several threads."""
        text = line.model_dump_json().encode() + b"\n"
        with self._lock:
            view = memoryview(text)
            while view:
                view = view[self._file.write(view) :]
            self._note(line)

    def close(self) -> None:
        """Force everything to the disk and let others write."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._only_writer.release()

    def __enter__(self) -> ConceptFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Described(BaseModel):
    """What a concept file says of one label.

    Attributes:
        description: the newest, with a person's corrections over it.
        fraction: share of the image that the mask covers.
    """

    description: Description
    fraction: float | None = None


def load_concepts(path: str | os.PathLike) -> dict[Key, Described]:
    """The descriptions of a concept file by (case, keyword), with a person's corrections applied.

    Raises:
        FileNotFoundError, ValueError: as `read_lines`.
    """
    found: dict[Key, Described] = {}
    corrections: dict[Key, dict[str, Value]] = {}
    for line in read_lines(path):
        key = (line.case, line.keyword)
        if isinstance(line, ConceptLine):
            found[key] = Described(description=line.description, fraction=line.fraction)
        elif isinstance(line, CorrectionLine):
            corrections.setdefault(key, {}).update(line.values)
    for key, values in corrections.items():
        old = found.get(key) or Described(description=Description(keyword=key[1]))
        merged = old.description.model_copy(update={"values": old.description.values | values})
        found[key] = old.model_copy(update={"description": merged})
    return found
