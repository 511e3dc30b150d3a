"""A record of what happened, one JSON object per line, that survives a kill."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO


class Journal:
    """Append-only list of events.

    Args:
        path: JSON Lines file; created with its folder at the first event.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()

    def add(self, event: dict[str, Any]) -> None:
        """Append one event; undefined numbers must be None."""
        line = json.dumps(event, allow_nan=False)
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as stream:
                torn = stream.tell() > 0 and _last_byte(stream) != b"\n"  # by a kill
                stream.write((("\n" if torn else "") + line + "\n").encode())
                stream.flush()
                os.fsync(stream.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All whole events, oldest first."""
        if not self.path.is_file():
            return []
        events = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue  # a line cut off by a kill
        return events


def _last_byte(stream: BinaryIO) -> bytes:
    """Last byte of a file that is not empty; writing goes on at the end."""
    stream.seek(-1, os.SEEK_END)
    return stream.read(1)
