"""The folder and file layouts in which data sets come: from each to pairs of paths."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .image_decoders import dicom_series
from .image_formats import image_kind, is_dicom_file, known_suffix

Datalist = dict[str, list[dict[str, Any]]]

SECTIONS = ("training", "validation", "testing")
PATH_KEYS = ("image", "label")
_SECTION_FOLDERS = {
    "training": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "testing": ("test", "testing"),
}
_SECTION_KEYS = {"training": ("training",), "validation": ("validation",)} | {
    "testing": ("testing", "test")
}
# Decathlon folders; imagesTs often comes without labelsTs.
_DECATHLON = {"training": ("imagesTr", "labelsTr"), "testing": ("imagesTs", "labelsTs")}
IMAGE_FOLDERS = ("images", "image")
MASK_FOLDERS = ("masks", "labels", "mask", "label")
_DATALIST_NAMES = ("dataset.json", "datalist.json")
# Endings by which public sets tell a mask ("x_mask.png") or a channel ("x_0000.nii.gz") from "x".
_MASK_ENDINGS = ("_mask", "_masks", "_seg", "_segmentation", "_label", "_gt")
_IMAGE_ENDINGS = ("_0000", "_image")
_SHOWN_NAMES = 5


def images_below(folder: Path, spatial_dims: int | None = None) -> list[Path]:
    """Give the images in ``folder`` and below, sorted; see ``datalist.find_images``."""
    images: list[Path] = []
    for current, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files = [Path(current) / name for name in sorted(names) if not name.startswith(".")]
        dicom = [file for file in files if is_dicom_file(file)]
        others = set(files) - set(dicom)
        images += [file for file in others if image_kind(file) is not None]
        images += dicom if spatial_dims == 2 else _dicom_cases(Path(current), dicom)
    return sorted(images)


def _dicom_cases(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Give the folder when its DICOM files are one series, or the files when each is its own."""
    if len(files) < 2:
        return list(files)
    series = dicom_series(list(files))
    if len(series) == 1:
        return [folder]
    if all(len(members) == 1 for members in series.values()):
        return list(files)
    raise ValueError(
        f"Expected one DICOM series per folder, got {len(series)} series in {len(files)} files in "
        f"'{folder}'. Move each series to its own folder."
    )


def read_layout(path: Path, base: Path | None = None) -> Datalist:
    """Give the cases of every section of a data set, as its layout has them.

    Args:
        path: data set folder or datalist JSON file.
        base: folder to which the paths of a JSON file are relative; default: that of the file.

    Raises:
        FileNotFoundError: nothing at ``path``.
        ValueError: no known layout, a damaged JSON file, or unmatched images and masks.
    """
    if path.is_file():
        return _read_json(path, base or path.parent)
    if not path.is_dir():
        raise FileNotFoundError(
            f"Expected a data set folder or datalist file, got '{path}', which does not exist. "
            "Check the spelling."
        )
    for name in _DATALIST_NAMES:
        if (path / name).is_file():
            return _read_json(path / name, path)
    sections = {section: _read_section(path, section) or [] for section in SECTIONS}
    if not sections["training"]:
        sections["training"] = _read_pairs(path) or []
    if not any(sections.values()):
        raise ValueError(
            f"Expected in '{path}' a dataset.json, the folders images and masks (or labels), "
            "imagesTr and labelsTr, train/images and train/masks, or test/images and test/masks; "
            f"got {_listing(path)}. Arrange the files so, or write a datalist file."
        )
    return sections


def _listing(folder: Path) -> str:
    """Name what a folder holds, shortened."""
    return _shown(sorted(child.name for child in folder.iterdir())) or "an empty folder"


def _shown(names: Iterable[str]) -> str:
    """Join names, the first few written out."""
    names = list(names)
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more


def _read_section(dataset_dir: Path, section: str) -> list[dict[str, Any]] | None:
    """Give the cases of a section that has folders of its own, None where it has not."""
    for name in _SECTION_FOLDERS[section]:
        if (dataset_dir / name).is_dir():
            return _read_pairs(dataset_dir / name)
    if section in _DECATHLON and (dataset_dir / _DECATHLON[section][0]).is_dir():
        images, labels = (dataset_dir / name for name in _DECATHLON[section])
        if section == "testing" and not labels.is_dir():
            return [{"image": str(image.absolute())} for image in images_below(images)]
        return match_pairs(images, labels)
    return None


def _read_pairs(folder: Path) -> list[dict[str, Any]] | None:
    """Give the pairs of a folder with images and masks, None when it lacks one of the two."""
    images, masks = first_folder(folder, IMAGE_FOLDERS), first_folder(folder, MASK_FOLDERS)
    return match_pairs(images, masks) if images and masks else None


def first_folder(folder: Path, names: Iterable[str]) -> Path | None:
    """Give the first of these sub-folders that exists, or None."""
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _stems(folder: Path, spatial_dims: int | None) -> dict[str, Path]:
    """Give stem -> path of the images below a folder; the stem is the relative path, no suffix."""
    stems: dict[str, Path] = {}
    for path in images_below(folder, spatial_dims):
        relative = path.relative_to(folder).as_posix()
        stem = relative[: len(relative) - len(known_suffix(path))]
        if stem in stems:
            raise ValueError(
                f"Expected one file per case in '{folder}', got '{stems[stem].name}' and "
                f"'{path.name}'. Remove one of them."
            )
        stems[stem] = path
    return stems


def _without_ending(stem: str, endings: Sequence[str]) -> str:
    """Give ``stem`` without the first of the endings it has."""
    found = next((ending for ending in endings if stem.lower().endswith(ending)), "")
    return stem[: len(stem) - len(found)]


def _stems_of_pairs(
    images_dir: Path, masks_dir: Path, spatial_dims: int | None = None
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Give stem -> path of images and masks, without endings where no stem is in both otherwise."""
    images, masks = _stems(images_dir, spatial_dims), _stems(masks_dir, spatial_dims)
    if not images.keys() & masks.keys():
        masks = {_without_ending(stem, _MASK_ENDINGS): path for stem, path in masks.items()}
    if not images.keys() & masks.keys():
        images = {_without_ending(stem, _IMAGE_ENDINGS): path for stem, path in images.items()}
    return images, masks


def match_pairs(images_dir: Path, masks_dir: Path) -> list[dict[str, Any]]:
    """Pair images and masks by stem ("a.jpg" with "a.png"; also "a_mask.png", "a_0000.nii.gz").

    The folder of a DICOM series is a volume named by it. Its files are pictures, each a case, where they
    have masks and the folder has none, and where they lie in ``images_dir`` itself.

    Returns:
        Cases with "image" and "label", absolute paths, sorted by image.

    Raises:
        ValueError: an image without mask or a mask without image, or two files of one stem.
    """
    images, masks = _stems_of_pairs(images_dir, masks_dir)
    is_nameless = "." in images.keys() | masks.keys()  # a series that lies in the folder itself
    if is_nameless or not images.keys() & masks.keys():
        pictures = _stems_of_pairs(images_dir, masks_dir, spatial_dims=2)
        if is_nameless or pictures[0].keys() & pictures[1].keys():
            images, masks = pictures
    lonely = [
        f"{what} {_shown(sorted(path.name for path in paths))}"
        for what, paths in (
            ("no mask for", [images[stem] for stem in images.keys() - masks.keys()]),
            ("no image for", [masks[stem] for stem in masks.keys() - images.keys()]),
        )
        if paths
    ]
    if lonely:
        raise ValueError(
            f"Expected for every image in '{images_dir}' a mask of the same name in "
            f"'{masks_dir}', got {'; '.join(lonely)}. Rename, add or remove these files; an image "
            "without object needs an empty mask."
        )
    return [
        {"image": str(images[stem].absolute()), "label": str(masks[stem].absolute())}
        for stem in sorted(images)
    ]


def _read_json(path: Path, base: Path) -> Datalist:
    """Read a datalist file in MONAI's or the Decathlon's form."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected a JSON file, got '{path}', which cannot be read ({error}). Correct it."
        ) from error
    content = content if isinstance(content, dict) else {}
    keys = [key for known in _SECTION_KEYS.values() for key in known if key in content]
    if not keys or not all(isinstance(content[key], list) for key in keys):
        raise ValueError(
            f"Expected lists of cases under 'training', 'validation' or 'testing' in '{path}', got "
            f"{ {key: type(value).__name__ for key, value in content.items()} }. Write "
            'it as {"training": [{"image": "...", "label": "..."}], "validation": [...]}.'
        )
    return {
        section: [
            _resolved(case, base, path)
            for key in _SECTION_KEYS[section]
            for case in content.get(key, [])
        ]
        for section in SECTIONS
    }


def _resolved(case: Any, base: Path, source: Path) -> dict[str, Any]:
    """Give a case of a datalist file with absolute paths."""
    case = {"image": case} if isinstance(case, str) else case
    image = case.get("image") if isinstance(case, dict) else None
    is_usable = isinstance(image, (str, list)) and image
    if not is_usable:
        raise ValueError(
            f"Expected cases with an 'image' path in '{source}', got {case!r}. Correct the entry."
        )
    resolved = dict(case)
    for key in PATH_KEYS:
        if isinstance(case.get(key), str):
            resolved[key] = str((base / case[key]).absolute())
        elif isinstance(case.get(key), list):
            resolved[key] = [str((base / name).absolute()) for name in case[key]]
    return resolved
