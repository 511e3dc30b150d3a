"""From a data set as downloaded to images, masks, datalist, concepts and a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from .acdc import AcdcConverter
from .camus import CamusConverter
from .card import DatasetCard
from .case import LeftOutError, RawCase
from .chaos import ChaosConverter
from .concept_lines import concept_lines
from .ddti import DdtiConverter
from .journal import Journal
from .lists import Preparation, write_lists
from .oddities import Oddity
from .pairs import PairsConverter
from .source_files import Progress, SourceFile, archives_of, list_files, unpack
from .writing import write_case

CONVERTERS = {
    "pairs": PairsConverter,
    "camus": CamusConverter,
    "acdc": AcdcConverter,
    "chaos": ChaosConverter,
    "ddti": DdtiConverter,
}


def _silent(items: Iterable, what: str) -> Iterable:
    """No progress."""
    return items


def prepare_dataset(
    card: DatasetCard,
    source: str | Path,
    out: str | Path,
    split: Mapping[str, Iterable[str]] | None = None,
    seed: int = 0,
    progress: Progress = _silent,
) -> Preparation:
    """Prepare a data set for training.

    `out` then holds images/, masks/, dataset.json (a datalist with all three sections),
    concepts.jsonl (a line per case and label) and report.json. The source is only read. A killed
    run goes on where it stopped; a finished one is checked and its lists are written again.

    Args:
        card: of the data set.
        source: folder as unpacked, archive, or folder of the archives as downloaded.
        out: folder to write to.
        split: section -> case names in place of the card's split.
        seed: of sections that are drawn.
        progress: wraps long loops; called with the items and what is done with them.

    Raises:
        FileNotFoundError: no such source.
        ValueError: another data set in `out`, `out` inside the source or around it, or no case found.
    """
    source, out = Path(source), Path(out)
    _check_places(source, out)
    journal = Journal(out, card, source)
    done, found = journal.read(), journal.found()
    if found is None or not all(_is_complete(out, done.get(name)) for name in found[0]):
        found = _convert(card, source, out, journal, done, progress)
    names, oddities = found
    entries = [done[name] for name in names]
    oddities += [Oddity(**remark) for entry in entries for remark in entry["oddities"]]
    preparation = write_lists(card, source, out, entries, oddities, split, seed)
    journal.clean()
    return preparation


def _check_places(source: Path, out: Path) -> None:
    """Refuse places where writing could touch the source."""
    if not source.exists():
        raise FileNotFoundError(
            f"Expected the folder or archive of the data set, got '{source}', which does not exist."
            " Check the spelling."
        )
    inner, outer = out.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise ValueError(
            f"Expected an output folder apart from the source '{source}', got '{out}'. The source"
            " is never changed; give a folder beside it."
        )


def _convert(
    card: DatasetCard,
    source: Path,
    out: Path,
    journal: Journal,
    done: dict[str, dict[str, Any]],
    progress: Progress,
) -> tuple[list[str], list[Oddity]]:
    """Find the cases and prepare those that `done` lacks; it is filled. Names and remarks."""
    converter = CONVERTERS[card.converter](card)
    cases, oddities = _find(converter, card, source, journal, progress)
    names = [case.name for case in cases]
    journal.set_found(names, oddities)
    for case in progress(cases, f"preparing {card.title}"):
        if not _is_complete(out, done.get(case.name)):
            done[case.name] = _prepare_case(converter, case, card, out)
            journal.add(done[case.name])
    return names, oddities


def _find(
    converter: PairsConverter,
    card: DatasetCard,
    source: Path,
    journal: Journal,
    progress: Progress,
) -> tuple[list[RawCase], list[Oddity]]:
    """Find the cases in the files, or in the archives where the files hold none."""
    files: list[SourceFile] = list_files(source) if source.is_dir() else []
    cases, oddities = converter.find(files)
    if not cases:
        for archive in archives_of(source):
            folder = journal.unpack_folder() / archive.name.split(".")[0]
            unpack(archive, folder, progress)
            files = [*files, *list_files(folder)]
        cases, oddities = converter.find(files)
    if not cases:
        reasons = f" {oddities[0].text} ({len(oddities)} remarks)." if oddities else ""
        raise ValueError(
            f"Expected the official layout of {card.title} in '{source}', got no case.{reasons}"
            f" The layout is: {card.layout.strip()}"
        )
    return cases, oddities


def _is_complete(out: Path, entry: Mapping[str, Any] | None) -> bool:
    """Whether a case is done: left out for good, or its files are there."""
    if entry is None:
        return False
    return "left_out" in entry or all((out / entry[key]).is_file() for key in ("image", "label"))


def _prepare_case(
    converter: PairsConverter, case: RawCase, card: DatasetCard, out: Path
) -> dict[str, Any]:
    """Read, check, write and measure one case; its line for the journal."""
    entry: dict[str, Any] = {
        "name": case.name,
        "section": case.section,
        "group": case.group or case.name,
        "files": list(case.files),
    }
    try:
        loaded = converter.load(case)
    except LeftOutError as error:
        return entry | {"left_out": str(error), "oddities": [error.oddity.as_dict()]}
    oddities = list(loaded.oddities)
    if not loaded.label.any():
        oddities.append(Oddity(case.name, "empty_mask", "no label in the mask"))
    names = write_case(case, loaded, card, out)
    sizes = nibabel.affines.voxel_sizes(loaded.affine)[: loaded.label.ndim]
    return entry | names | {
        "shape": list(loaded.label.shape),
        "spacing_mm": [round(float(x), 5) for x in sizes] if loaded.spacing_known else None,
        "image_sha1": hashlib.sha1(np.ascontiguousarray(loaded.image).tobytes()).hexdigest(),
        "sizes": np.bincount(loaded.label.ravel(), minlength=len(card.keywords) + 1)[1:].tolist(),
        "oddities": [oddity.as_dict() for oddity in oddities],
        "concepts": concept_lines(names["image"], loaded, card),
    }  # fmt: skip
