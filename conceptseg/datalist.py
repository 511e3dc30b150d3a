"""Finding images and pairs in folders or datalist files, and keeping one split for good."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import ensure_tuple

from .datalist_layouts import SECTIONS, Datalist, images_below, read_layout
from .datalist_split import base_dir, read_split, write_split
from .image_formats import ACCEPTED_PATTERNS, image_kind
from .image_io import ConceptImageReader

ALL = "all"  # as a section: every case, however the data set is divided


def find_images(folder: str | os.PathLike, spatial_dims: int | None = None) -> list[str]:
    """Find all images in a folder and its sub-folders.

    Hidden files and files of other kinds are ignored.

    Args:
        folder: where to look.
        spatial_dims: 2 makes every DICOM file a case of its own; else a folder whose DICOM files
            belong to one series is one case, named by the folder.

    Returns:
        Paths, sorted.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no image in it, or a folder that mixes several multi-file DICOM series.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected a folder of images, got '{folder}', which is no folder. Check the spelling."
        )
    images = images_below(folder, spatial_dims)
    if not images:
        raise ValueError(
            f"Expected images in '{folder}', got none. Accepted are {', '.join(ACCEPTED_PATTERNS)}."
        )
    return [str(image) for image in images]


def image_datalist(
    path: str | os.PathLike, spatial_dims: int | None = None
) -> list[dict[str, str]]:
    """Give ``[{"image": path}, ...]`` for one image file or a folder of images without masks.

    Raises:
        FileNotFoundError: nothing at ``path``.
        ValueError: no image there.
    """
    path = Path(path)
    if path.is_file():
        if image_kind(path) is None:
            raise ValueError(
                f"Expected one of {', '.join(ACCEPTED_PATTERNS)}; got '{path}'. Convert it first."
            )
        return [{"image": str(path)}]
    return [{"image": image} for image in find_images(path, spatial_dims)]


def folder_datalist(
    dataset_dir: str | os.PathLike,
    split_file: str | os.PathLike | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Datalist:
    """Give the training, validation and testing cases of a data set, the same ones every time.

    ``dataset_dir`` may hold a datalist (``dataset.json`` or ``datalist.json``, or be such a file)
    with the keys training, validation, testing or test; the folders ``train``, ``validation`` and
    ``test``, each with ``images`` and ``masks``; or ``images`` and ``masks`` themselves (also
    ``labels``; ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs``). Sections that the layout
    does not give are drawn from its training cases.

    Args:
        dataset_dir: folder or datalist file.
        split_file: JSON file in which the split is kept. When it exists, it is the split and the
            arguments behind it are not used; else it is written.
        val_fraction: part of the cases to validate on, 0..1, at least one case when above 0.
        test_fraction: part of the cases to test on, 0..1, at least one case when above 0.
        seed: of the shuffle.

    Returns:
        Section -> cases; a case has "image" and, where known, "label" (absolute paths), and
        whatever else the datalist says about it.

    Raises:
        FileNotFoundError: no such folder, or a file of the split is missing.
        ValueError: no known layout, unmatched images or masks, fewer than two cases to train
            on, fractions that leave nothing to train on, or a damaged JSON file.
    """
    dataset_dir = Path(dataset_dir)
    if split_file is not None and Path(split_file).exists():
        return read_split(Path(split_file), dataset_dir)
    sections = read_layout(dataset_dir)
    for section, fraction in (("validation", val_fraction), ("testing", test_fraction)):
        if not 0 <= fraction < 1:
            raise ValueError(
                f"Expected the {section} fraction in [0, 1), got {fraction}. 0.2 is usual; to judge "
                f"every case, evaluate with section {ALL}."
            )
    count = len(sections["training"])
    if count + len(sections["validation"]) < 2 or not count:
        raise ValueError(
            f"Expected at least 2 cases with masks in '{dataset_dir}', one of them to train on, got "
            f"{count} to train on and {len(sections['testing'])} to test on. Add pairs of images and "
            "masks; test cases alone can be judged only."
        )
    _draw_missing_sections(sections, val_fraction, test_fraction, seed)
    if split_file is not None:
        write_split(Path(split_file), dataset_dir, sections, seed)
    return sections


def _draw_missing_sections(
    sections: Datalist, val_fraction: float, test_fraction: float, seed: int
) -> None:
    """Move cases from training to the sections that are empty, in place."""
    cases = sections["training"]
    fractions = {"validation": val_fraction, "testing": test_fraction}
    counts = {
        section: max(1, round(len(cases) * fraction))
        for section, fraction in fractions.items()
        if fraction > 0 and not sections[section]
    }
    left = len(cases) - sum(counts.values())
    if left < 1:
        raise ValueError(
            f"Expected at least one case left to train on, got {len(cases)} cases of which "
            f"{counts} are asked for. Add cases or lower the fractions."
        )
    order = np.random.default_rng(seed).permutation(len(cases))
    start = 0
    for section, count in counts.items():
        chosen = sorted(order[start : start + count])
        sections[section] = [cases[index] for index in chosen]
        start += count
    sections["training"] = [cases[index] for index in sorted(order[start:])]


def load_datalist(
    path: str | os.PathLike,
    section: str = "training",
    split_file: str | os.PathLike | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Give the cases of one section; see ``folder_datalist`` for the arguments.

    A data set that has test cases alone needs no split: they are its testing section. Nor does the section
    "all", which holds every case that has a mask, once. Nothing is written for these.

    Args:
        path: data set folder or datalist file.
        section: "training", "validation", "testing" or "all".
        split_file: JSON file that keeps the split.
        val_fraction: part of the cases to validate on.
        test_fraction: part of the cases to test on.
        seed: of the shuffle.

    Raises:
        ValueError: unknown or empty section, a case without mask, or as ``folder_datalist``.
    """
    if section not in (*SECTIONS, ALL):
        raise ValueError(
            f"Expected a section of {', '.join(SECTIONS)}, {ALL}, got '{section}'. Use one of them."
        )
    split_file = None if split_file is None else Path(split_file)
    if section == ALL:
        cases = _every_case(Path(path))
    elif section == "testing" and _is_test_set(Path(path), split_file):
        cases = read_layout(Path(path))[section]
    else:
        cases = folder_datalist(path, split_file, val_fraction, test_fraction, seed)[section]
    if not cases:
        raise ValueError(
            f"Expected cases of the section '{section}' in '{path}', got none. Add such cases, or raise "
            "their fraction (and delete the split file)."
        )
    bare = [case["image"] for case in cases if "label" not in case]
    if bare:
        raise ValueError(
            f"Expected a mask for each of the {len(cases)} {section} cases in '{path}', got none for "
            f"{len(bare)}, such as '{bare[0]}'. Add masks."
        )
    return cases


def _every_case(path: Path) -> list[dict[str, Any]]:
    """Give all cases of a data set that have masks, each once."""
    every = chain.from_iterable(read_layout(path).values())
    return list({str(case["image"]): case for case in every if "label" in case}.values())


def _is_test_set(path: Path, split_file: Path | None) -> bool:
    """Say whether a data set has test cases alone, and is not the one that the split file divides."""
    try:
        split = (
            read_layout(split_file, base_dir(path)) if split_file and split_file.exists() else {}
        )
        if split and all(map(_is_there, chain.from_iterable(split.values()))):
            return False
        sections = read_layout(path)
    except (FileNotFoundError, ValueError):
        return False  # said by whoever reads it next
    others = sections["training"] + sections["validation"]
    return bool(sections["testing"]) and not any(map(_is_there, others))


def _is_there(case: Mapping[str, Any]) -> bool:
    """Say whether the image of a case exists."""
    return Path(ensure_tuple(case["image"])[0]).exists()


def check_labels_present(
    cases: Sequence[Mapping[str, Any]],
    keywords: Sequence[str],
    to_labels: Callable[[np.ndarray], np.ndarray] | None = None,
) -> None:
    """Refuse a data set in which a label occurs in no mask; stops reading once all were seen.

    Args:
        cases: with "label" paths.
        keywords: K names; label k is ``keywords[k - 1]``.
        to_labels: from the raw (1, *spatial) values of a mask file to label numbers 0..K;
            default: values above 127 or equal to 1 are label 1 when K is 1, values as they are
            otherwise.

    Raises:
        ValueError: no case has a mask, or a label is absent in all.
    """
    masks = [case["label"] for case in cases if "label" in case]
    if not masks:
        raise ValueError(f"Expected cases with masks, got {len(cases)} without. Add masks.")
    reader, absent, seen = (
        ConceptImageReader(is_label=True),
        set(range(1, len(keywords) + 1)),
        {0},
    )
    for mask in masks:
        values = np.unique(reader.get_data(reader.read(mask))[0])
        seen |= set(values.tolist())
        if to_labels is not None:
            values = to_labels(values)
        elif len(keywords) == 1:
            values = ((values == 1) | (values > 127)).astype(int)
        absent -= set(np.asarray(values).tolist())
        if not absent:
            return
    names = ", ".join(f"'{keywords[index - 1]}' ({index})" for index in sorted(absent))
    values = ", ".join(f"{value:g}" for value in sorted(seen)[:10])
    raise ValueError(
        f"Expected every label in at least one of {len(masks)} masks, got none with {names}; "
        f"values seen: {values}. Correct the masks, the keywords, or the label mapping."
    )
