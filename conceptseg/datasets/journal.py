"""What is done of a data set's preparation: a line per case, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from ..atomic import write_text_atomic
from .card import DatasetCard
from .oddities import Oddity

STATE, LINES, FOUND = ".prepare.json", ".cases.jsonl", ".found.json"


class Journal:
    """The record of a preparation in its output folder.

    Args:
        out: output folder; created.
        card: of the data set.
        source: its files.

    Raises:
        ValueError: the folder holds something else, or the same data set from another source or
            by another version of its card.
    """

    def __init__(self, out: Path, card: DatasetCard, source: Path) -> None:
        self.out = out
        content = card.model_dump(mode="json", exclude={"tested", "notes"})
        text = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        self.state = {"card": card.name, "card_sha256": text, "source": str(source.resolve())}
        self._check()
        out.mkdir(parents=True, exist_ok=True)
        if not (out / STATE).exists():
            write_text_atomic(out / STATE, json.dumps(self.state) + "\n")

    def _check(self) -> None:
        """Refuse a folder that is not this preparation's."""
        if not self.out.exists() or (self.out.is_dir() and not any(self.out.iterdir())):
            return
        state = self.out / STATE
        if not state.is_file():
            raise ValueError(
                f"Expected an empty output folder, got '{self.out}', which holds files of another"
                " kind. Give another folder."
            )
        found = json.loads(state.read_text(encoding="utf-8"))
        if found != self.state and not (self.out / LINES).exists():  # a try that found no case
            self.clean()
            state.unlink()
            return
        if found["card"] != self.state["card"]:
            raise ValueError(
                f"Expected an empty output folder or one of '{self.state['card']}', got"
                f" '{self.out}', which holds the data set '{found['card']}'. Give another folder."
            )
        if found != self.state:
            what = "source" if found["source"] != self.state["source"] else "version of the card"
            raise ValueError(
                f"Expected an output folder made from this {what}, got '{self.out}', made from"
                f" another ('{found['source']}'). Give another folder, or delete this one."
            )

    def read(self) -> dict[str, dict[str, Any]]:
        """Case name -> line; a line cut off by a kill is dropped from the file."""
        path = self.out / LINES
        if not path.is_file():
            return {}
        lines = {}
        text = path.read_text(encoding="utf-8")
        kept = []
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            lines[entry["name"]] = entry
            kept.append(line)
        if len(kept) != text.count("\n") or not text.endswith("\n"):
            write_text_atomic(path, "".join(f"{line}\n" for line in kept))
        return lines

    def add(self, entry: dict[str, Any]) -> None:
        """Append a finished case."""
        with open(self.out / LINES, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def set_found(self, names: list[str], oddities: list[Oddity]) -> None:
        """Keep what the search through the source gave."""
        content = {"names": names, "oddities": [oddity.as_dict() for oddity in oddities]}
        write_text_atomic(self.out / FOUND, json.dumps(content) + "\n")

    def found(self) -> tuple[list[str], list[Oddity]] | None:
        """What `set_found` kept: case names and remarks; None before."""
        if not (self.out / FOUND).is_file():
            return None
        content = json.loads((self.out / FOUND).read_text(encoding="utf-8"))
        return content["names"], [Oddity(**remark) for remark in content["oddities"]]

    def unpack_folder(self) -> Path:
        """Where archives are unpacked to; removed at the end."""
        return self.out / ".source"

    def clean(self) -> None:
        """Remove what archives were unpacked to."""
        shutil.rmtree(self.unpack_folder(), ignore_errors=True)
