"""What is kept of every run: one folder each, written as the run ends, never overwritten unasked."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..atomic import write_text_atomic
from .matrix import RunSpec

RECORD, CASES, MASKS, WEIGHTS = "record.json", "cases.csv", "masks.npz", "model.pt"
CLAIM = "claim"  # locked by the process that has the run; the system frees it when the process ends


class RunStore:
    """Folders of runs below `root`/runs; what was replaced is moved to `root`/superseded.

    Args:
        root: output folder of the benchmark.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """Folder of a run."""
        return self.root / "runs" / key

    def read(self, key: str) -> dict[str, Any] | None:
        """Record of a run, or None when it has not ended."""
        path = self.folder(key) / RECORD
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep the record of a run that ended, well or not."""
        write_text_atomic(self.folder(key) / RECORD, json.dumps(record, indent=1) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """All records, by key."""
        paths = sorted((self.root / "runs").glob(f"**/{RECORD}"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def table(self, key: str, name: str) -> list[dict[str, str]]:
        """Rows of one of a run's CSV tables, values as text."""
        with open(self.folder(key) / name, newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    def supersede(self, key: str) -> None:
        """Move a run out of the way, numbered, so that it can be repeated; its claim stays."""
        files = [path for path in self.folder(key).glob("*") if path.name != CLAIM]
        if not files:
            return
        target = self.root / "superseded" / key
        number = 1 + len(list(target.parent.glob(f"{target.name}.*")))
        target = target.with_name(f"{target.name}.{number}")
        target.mkdir(parents=True)
        for path in files:
            shutil.move(path, target / path.name)

    @contextmanager
    def claim(self, spec: RunSpec) -> Iterator[bool]:
        """Reserve a run for this process; gives False when another has it."""
        path = self.folder(spec.key) / CLAIM
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(path).acquire(timeout=0)
        except Timeout:
            yield False
            return
        with lock:
            yield True
