"""What a folder of predictions holds already, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LEDGER = ".conceptseg.jsonl"


class Ledger:
    """One line per finished image: what it was, with which settings, what was written.

    Args:
        folder: of the predictions.
        settings: bundle, weights, prompt and all else that decides the result.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.file = folder / LEDGER
        self.settings = settings
        self._entries: dict[str, dict] = {}
        if self.file.is_file():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # the line that was being written when the power went
                    continue
                self._entries[entry["image"]] = entry

    def finished(self, image: Path, stamp: list[int]) -> dict[str, Any] | None:
        """What was found for an unchanged image under the same settings; None when to be done."""
        entry = self._entries.get(str(image.absolute()))
        if entry is None or entry["stamp"] != stamp or entry["settings"] != self.settings:
            return None
        return entry if all(Path(file).exists() for file in entry["files"]) else None

    def knows(self, file: Path) -> bool:
        """Say whether an earlier run of this command wrote `file`."""
        return any(str(file) in entry["files"] for entry in self._entries.values())

    def add(
        self, image: Path, stamp: list[int], rows: list[dict], files: list[str], notes: list[str]
    ) -> dict[str, Any]:
        """Note a finished image at once."""
        entry = {
            "image": str(image.absolute()),
            "stamp": stamp,
            "settings": self.settings,
            "rows": rows,
            "files": files,
            "notes": notes,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        self._entries[entry["image"]] = entry
        return entry
