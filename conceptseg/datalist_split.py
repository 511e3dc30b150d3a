"""The split of a data set in a file: written once, read again wherever the data lie."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from monai.utils import ensure_tuple

from .atomic import write_text_atomic
from .datalist_layouts import PATH_KEYS, SECTIONS, Datalist, read_layout
from .image_formats import case_name

logger = logging.getLogger(__name__)


def base_dir(dataset_dir: Path) -> Path:
    """Give the folder to which the paths of a split file are relative."""
    return (dataset_dir.parent if dataset_dir.is_file() else dataset_dir).absolute()


def write_split(split_file: Path, dataset_dir: Path, sections: Datalist, seed: int) -> None:
    """Write the split with paths relative to the data set, so that both may be moved."""
    base = base_dir(dataset_dir)

    def portable(value: str | list[str]) -> str | list[str]:
        if isinstance(value, list):
            return [portable(name) for name in value]
        return Path(os.path.relpath(value, base)).as_posix()

    content = {
        section: [
            {**case, **{key: portable(case[key]) for key in PATH_KEYS if key in case}}
            for case in sections[section]
        ]
        for section in SECTIONS
    }
    write_text_atomic(split_file, json.dumps({"seed": seed, **content}, indent=1) + "\n")
    counts = ", ".join(f"{len(cases)} {section}" for section, cases in content.items())
    logger.info("Split written to '%s': %s.", split_file, counts)


def read_split(split_file: Path, dataset_dir: Path) -> Datalist:
    """Read a split written earlier; refuse it when files of it are missing.

    A published split names the cases of a data set whose copies differ in folders and file types
    ("imagesTr", ".png" for ".jpg"): where files are missing, cases are found by their names.
    """
    sections = read_layout(split_file, base_dir(dataset_dir))
    missing = _missing(sections)
    if missing:
        sections = _found_by_name(sections, dataset_dir)
        missing = _missing(sections)
    if missing:
        raise FileNotFoundError(
            f"Expected the {len(_paths(sections))} files of the split '{split_file}' under '{dataset_dir}', "
            f"got {len(missing)} missing, for example '{missing[0]}'. Restore them, delete the "
            "split file to draw a new split, or evaluate all cases (--section all)."
        )
    counts = ", ".join(f"{len(cases)} {section}" for section, cases in sections.items())
    logger.info("Split read from '%s': %s. Delete the file to draw again.", split_file, counts)
    return sections


def _paths(sections: Datalist) -> list[str]:
    """All files that the sections name."""
    return [
        path
        for cases in sections.values()
        for case in cases
        for key in PATH_KEYS
        for path in ensure_tuple(case.get(key, ()))
    ]


def _missing(sections: Datalist) -> list[str]:
    """Those of the files that are not there."""
    return [path for path in _paths(sections) if not Path(path).exists()]


def _found_by_name(sections: Datalist, dataset_dir: Path) -> Datalist:
    """The same sections with the files that the data set has for cases of these names.

    They come back as they are where a case is missing, or its name stands for several.
    """
    try:
        found = read_layout(dataset_dir)
    except (ValueError, FileNotFoundError):
        return sections
    there: dict[str, list[dict[str, Any]]] = {}
    for case in chain.from_iterable(found.values()):
        there.setdefault(_name_of(case), []).append(case)
    wanted = chain.from_iterable(sections.values())
    if any(len(there.get(_name_of(case), ())) != 1 for case in wanted):
        return sections
    logger.info("Files of the split are named otherwise here: found by the names of the cases.")
    return {
        section: [case | there[_name_of(case)][0] for case in cases]
        for section, cases in sections.items()
    }


def _name_of(case: Mapping[str, Any]) -> str:
    """Name of a case, that of its first image."""
    return case_name(ensure_tuple(case["image"])[0])
