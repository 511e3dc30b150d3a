"""Records kept in a file that only grows, so that scoring goes on where it stopped."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path

from .records import CaseRecord

logger = logging.getLogger(__name__)


class ScoreFile:
    """Append-only file of records of one model version.

    A process killed in the middle of a line loses that line alone: damaged lines are left out when
    reading, and the next record starts on a line of its own. The last record of a name counts.

    Args:
        path: JSON Lines file; created with its folder at the first record.
        version: of the model; a file of another version is refused.

    Raises:
        ValueError: the file belongs to another version.
    """

    def __init__(self, path: str | os.PathLike, version: str) -> None:
        self.path = Path(path)
        self.version = version
        self.records: dict[str, CaseRecord] = {}
        self._lock = threading.Lock()
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        """Take over what is there."""
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        try:
            version = json.loads(lines[0])["version"]
        except (ValueError, KeyError, TypeError):
            version = None  # killed while the first line was written
        if version is None:
            self.path.unlink()
            return
        if version != self.version:
            raise ValueError(
                f"expected scores of model version {self.version} in '{self.path}', got"
                f" {version}; use another file for each version"
            )
        for line in filter(None, lines[1:]):
            try:
                record = CaseRecord.from_json(line)
            except ValueError:
                logger.warning("a damaged line of '%s' is left out", self.path)
                continue
            self.records[record.name] = record
        if lines[-1]:
            self._append("\n")

    def add(self, record: CaseRecord) -> None:
        """Keep a record, in memory and in the file."""
        with self._lock:
            if not self.path.is_file():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._append(json.dumps({"version": self.version}) + "\n")
            self._append(record.to_json() + "\n")
            self.records[record.name] = record

    def _append(self, text: str) -> None:
        """Write at the end, in one piece."""
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(text)
