"""What a folder of predictions holds already, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LEDGER = ".conceptseg.jsonl"


class Ledger:
    """A line when an image is begun and one when it is finished: what it was, what was written.

    The newest line of an image counts. One that is begun alone says that its mask, should it be there,
    comes from these settings, so that it may be replaced after a kill.

    Args:
        folder: of the predictions.
        settings: bundle, weights, prompt and all else that decides the result.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.file = folder / LEDGER
        self.settings = settings
        self._entries: dict[str, dict] = {}
        self._is_cut = False
        if self.file.is_file():
            text = self.file.read_text(encoding="utf-8")
            self._is_cut = bool(text) and not text.endswith("\n")
            for line in text.splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # the line that was being written when the power went
                    continue
                self._entries[entry["image"]] = entry

    def finished(self, image: Path, stamp: list[int]) -> dict[str, Any] | None:
        """What was found for an unchanged image under the same settings; None when to be done."""
        entry = self._same(image, stamp)
        if entry is None or "rows" not in entry:
            return None
        return entry if all(Path(file).exists() for file in entry["files"]) else None

    def may_replace(self, mask: Path, image: Path, stamp: list[int]) -> bool:
        """Say whether `mask` was begun for the unchanged image under the same settings, and no other."""
        entry = self._same(image, stamp)
        users = [e for e in self._entries.values() if str(mask) in e["files"]]
        return entry is not None and users == [entry]

    def _same(self, image: Path, stamp: list[int]) -> dict[str, Any] | None:
        """The newest line of an image, if image and settings are as they were."""
        entry = self._entries.get(str(image.absolute()))
        if entry is None or entry["stamp"] != stamp or entry["settings"] != self.settings:
            return None
        return entry

    def begin(self, image: Path, stamp: list[int], mask: Path) -> None:
        """Note at once that `mask` is about to be written."""
        self._append(image, stamp, {"files": [str(mask)]})

    def add(
        self, image: Path, stamp: list[int], rows: list[dict], files: list[str], notes: list[str]
    ) -> dict[str, Any]:
        """Note a finished image at once."""
        return self._append(image, stamp, {"rows": rows, "files": files, "notes": notes})

    def _append(self, image: Path, stamp: list[int], what: dict[str, Any]) -> dict[str, Any]:
        """Write a line and remember it."""
        entry = {"image": str(image.absolute()), "stamp": stamp, "settings": self.settings, **what}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "a", encoding="utf-8") as stream:
            # half a line that a kill left stays a line of its own
            stream.write(("\n" if self._is_cut else "") + json.dumps(entry) + "\n")
        self._is_cut = False
        self._entries[entry["image"]] = entry
        return entry
