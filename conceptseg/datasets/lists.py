"""The lists of a prepared data set: dataset.json, concepts.jsonl and report.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_text_atomic
from ..datalist_layouts import SECTIONS
from .card import DatasetCard
from .oddities import Oddity
from .sections import SplitCase, assign_sections


@dataclass(frozen=True)
class Preparation:
    """What was prepared.

    Attributes:
        report: content of report.json.
        oddities: all remarks.
    """

    report: dict[str, Any]
    oddities: list[Oddity]


def write_lists(
    card: DatasetCard,
    source: Path,
    out: Path,
    entries: list[dict[str, Any]],
    oddities: list[Oddity],
    split: Mapping[str, Iterable[str]] | None,
    seed: int,
) -> Preparation:
    """Divide the cases and write dataset.json, concepts.jsonl and report.json.

    Raises:
        ValueError: no usable case.
    """
    used = [entry for entry in entries if "left_out" not in entry]
    if not used:
        raise ValueError(
            f"Expected usable cases of {card.title} in '{source}', got {len(entries)} of which none"
            f" could be used: {entries[0]['left_out']} Check the download."
        )
    cases = [SplitCase(entry["name"], entry["section"], entry["group"]) for entry in used]
    sections, remarks = assign_sections(cases, card, split, seed)
    oddities = [*oddities, *remarks, *_duplicates(used, sections)]
    counts = {"cases": len(used)} | {
        section: sum(value == section for value in sections.values()) for section in SECTIONS
    }
    if split is None:
        oddities += _wrong_counts(card, counts)
    _write_datalist(card, out, used, sections)
    _write_concepts(out / "concepts.jsonl", used)
    report = {
        "dataset_card": card.name,
        "source": str(source),
        "split": "given lists" if split is not None else card.split.text.strip(),
        "seed": seed,
        "counts": counts,
        "expected": card.counts,
        "cases_with_label": {
            keyword: sum(entry["sizes"][i] > 0 for entry in used)
            for i, keyword in enumerate(card.keywords)
        },
        "left_out": {e["name"]: e["left_out"] for e in entries if "left_out" in e},
        "oddities": [oddity.as_dict() for oddity in oddities],
        "cases": [
            {key: value for key, value in entry.items() if key not in ("concepts", "oddities")}
            for entry in entries
        ],
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    write_text_atomic(out / "report.json", f"{text}\n")
    return Preparation(report, oddities)


def _write_datalist(
    card: DatasetCard, out: Path, used: list[dict[str, Any]], sections: Mapping[str, str]
) -> None:
    """Write dataset.json, which `conceptseg.datalist.load_datalist` reads."""
    labels = {"0": "background"} | {str(i): k for i, k in enumerate(card.keywords, start=1)}
    datalist = {"name": card.title, "dataset_card": card.name, "labels": labels} | {
        section: [
            {"image": entry["image"], "label": entry["label"]}
            for entry in used
            if sections.get(entry["name"]) == section
        ]
        for section in SECTIONS
    }
    write_text_atomic(out / "dataset.json", json.dumps(datalist, indent=1) + "\n")


def _write_concepts(path: Path, used: list[dict[str, Any]]) -> None:
    """Write the concept file; what others have appended to the same lines stays."""
    text = "".join(f"{json.dumps(line)}\n" for entry in used for line in entry["concepts"])
    if path.is_file():
        if path.read_text(encoding="utf-8").startswith(text):
            return
        path.replace(path.with_name("concepts.previous.jsonl"))
    write_text_atomic(path, text)


def _duplicates(entries: list[dict[str, Any]], sections: Mapping[str, str]) -> list[Oddity]:
    """Images with the same pixels; the worse when a split divides them."""
    first: dict[str, str] = {}
    oddities = []
    for entry in entries:
        other = first.setdefault(entry["image_sha1"], entry["name"])
        if other != entry["name"]:
            mine, theirs = sections.get(entry["name"]), sections.get(other)
            where = "" if mine == theirs else f", of which one is {theirs} and one {mine}"
            oddities.append(Oddity(entry["name"], "duplicate_image", f"same as '{other}'{where}"))
    return oddities


def _wrong_counts(card: DatasetCard, counts: Mapping[str, int]) -> list[Oddity]:
    """Numbers that differ from the card's."""
    return [
        Oddity("", "count", f"expected {expected} {name}, got {counts[name]}")
        for name, expected in card.counts.items()
        if counts.get(name) != expected
    ]
