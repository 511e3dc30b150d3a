"""Dividing the cases of a data set into training, validation and testing."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datalist_layouts import SECTIONS
from ..image_formats import case_name
from .card import DatasetCard
from .oddities import Oddity

# Names under which public split files hold a section: "test.json", "test_data.csv", "testA.json" ...
_FILE_NAMES = {
    "training": ("train", "training", "train_data"),
    "validation": ("val", "validation", "val_data", "valid"),
    "testing": ("test", "testing", "test_data", "testa"),
}
_SUFFIXES = (".json", ".csv", ".txt")


@dataclass(frozen=True)
class SplitCase:
    """What a split needs to know of a case."""

    name: str
    section: str | None
    group: str


def assign_sections(
    cases: Sequence[SplitCase],
    card: DatasetCard,
    listed: Mapping[str, Iterable[str]] | None = None,
    seed: int = 0,
) -> tuple[dict[str, str], list[Oddity]]:
    """Give every case a section.

    Lists win, then the section that the data set's own layout gives; what is missing then is drawn
    from the training cases, whole groups at a time.

    Args:
        cases: of the data set.
        card: its split says which shares to draw.
        listed: section -> case names of split files; cases in none of them are left out. None: the
            card's packaged lists, where the rest trains.
        seed: of the draw.

    Returns:
        Case name -> section, and remarks on what does not match the lists.
    """
    packaged = card.packaged_split()
    lists = packaged if listed is None else listed
    if not lists:
        return _drawn({case.name: case.section or "training" for case in cases}, cases, card, seed)
    by_name = {name: section for section, names in lists.items() for name in names}
    known = {case.name for case in cases}
    rest = "training" if listed is None else None
    sections = {name: by_name.get(name, rest) for name in sorted(known)}
    left_out = [name for name, section in sections.items() if section is None]
    absent = sorted(by_name.keys() - known)
    oddities = []
    if absent:
        text = f"{len(absent)} names of the split are not in the data, for example '{absent[0]}'"
        oddities.append(Oddity("", "split", text))
    if left_out:
        text = f"{len(left_out)} cases are in no list and left out, for example '{left_out[0]}'"
        oddities.append(Oddity("", "split", text))
    return {name: section for name, section in sections.items() if section}, oddities


def _drawn(
    sections: dict[str, str], cases: Sequence[SplitCase], card: DatasetCard, seed: int
) -> tuple[dict[str, str], list[Oddity]]:
    """Move groups from training to the sections that are empty, at least one and never the last."""
    groups = sorted({case.group for case in cases if sections[case.name] == "training"})
    total, order = len(groups), np.random.default_rng(seed).permutation(len(groups))
    queue = [groups[index] for index in order]
    for section, share in (
        ("testing", card.split.testing),
        ("validation", card.split.validation),
    ):
        if section in sections.values() or not share:
            continue
        count = min(max(1, round(share * total)), len(queue) - 1)
        chosen, queue = set(queue[:count]), queue[count:]
        for case in cases:
            if case.group in chosen and sections[case.name] == "training":
                sections[case.name] = section
    return sections, []


def read_split_files(path: str | Path) -> dict[str, list[str]]:
    """Read public split files.

    A folder with one file per section (train, val, test; .json as medvlsm has them, .csv with a
    column img_name, .txt with a name per line), or one JSON file of section -> names. Names lose
    their folder and suffix.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: no section in it.
    """
    path = Path(path)
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: content[name] for name in SECTIONS if name in content}
    elif path.is_dir():
        files = {file.stem.lower(): file for file in sorted(path.iterdir(), reverse=True)
                 if file.suffix.lower() in _SUFFIXES}  # fmt: skip
        lists = {}
        for section, stems in _FILE_NAMES.items():
            file = next((files[stem] for stem in stems if stem in files), None)
            if file is not None:
                lists[section] = _names_in(file)
    else:
        raise FileNotFoundError(
            f"Expected a folder or file of split lists, got '{path}', which does not exist. Check"
            " the spelling."
        )
    if not any(lists.values()):
        raise ValueError(
            f"Expected lists of cases for {', '.join(SECTIONS)} in '{path}', got none. Give a folder"
            " with train.json, val.json and test.json, or a JSON file with these keys."
        )
    return {section: [case_name(name) for name in names] for section, names in lists.items()}


def _names_in(file: Path) -> list[str]:
    """Image names that one split file lists, each once."""
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix.lower() == ".json":
        names = [
            entry["img_name"] if isinstance(entry, dict) else entry for entry in json.loads(text)
        ]
    elif file.suffix.lower() == ".csv":
        names = [row["img_name"] for row in csv.DictReader(text.splitlines())]
    else:
        names = text.split("\n")
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))
