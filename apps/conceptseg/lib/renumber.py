"""Saved labels in a bundle's own values: a client numbers its segments in the order it shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from conceptseg.atomic import atomic_path
from conceptseg.image_formats import case_name
from conceptseg.image_io import ConceptImageReader

from .bundle import Bundle


def segments_of(
    info: Iterable[Mapping[str, Any]] | None,
) -> list[tuple[str, dict[str, Any]]]:
    """Name, in small letters, and entry of each segment of a client's `label_info`, its value as "idx"."""
    return [
        (
            str(entry.get("name", "")).strip().lower(),
            {**entry, "idx": int(entry.get("idx") or position)},
        )
        for position, entry in enumerate(info or [], start=1)
    ]


def own_values(info: Iterable[Mapping[str, Any]] | None, bundle: Bundle) -> dict[int, int]:
    """Value in a saved file -> value in the bundle, by the names the client sent; {} keeps all values.

    Segments of another bundle become background. When no name is known, a client has sent none of
    its own and the values count.

    Args:
        info: the client's `label_info`, entries with "name" and "idx" (default: position + 1).
        bundle: for its labels.
    """
    by_name = {name.lower(): value for name, value in bundle.labels.items()}
    sent = {entry["idx"]: by_name.get(name) for name, entry in segments_of(info)}
    if not any(sent.values()):
        return {}
    mapping = {value: own or 0 for value, own in sent.items()}
    return {} if all(value == own for value, own in mapping.items()) else mapping


def is_foreign(
    info: Iterable[Mapping[str, Any]] | None, bundle: Bundle, served: Iterable[str]
) -> bool:
    """True for a label whose segments all belong to other bundles.

    Args:
        info: the client's `label_info`.
        bundle: in question.
        served: label names of all bundles of the server.
    """
    names = {name for name, _ in segments_of(info)}
    own = {name.lower() for name in bundle.labels}
    return bool(names) and not names & own and names <= {name.lower() for name in served}


def renumbered(label: np.ndarray, mapping: Mapping[int, int]) -> np.ndarray:
    """`label` with the values of `mapping` replaced; others stay."""
    result = label.copy()
    for value, own in mapping.items():
        result[label == value] = own
    return result


def write_renumbered(case: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The case for a datalist, its label in the bundle's values: the saved file where it has them.

    Args:
        case: paths of "image" and "label", and the mapping of its values, "values".
        folder: for the copy.
    """
    entry = {key: value for key, value in case.items() if key not in ("values", "label_info")}
    if not case["values"]:
        return entry
    reader = ConceptImageReader(is_label=True)
    array, meta = reader.get_data(reader.read(case["label"]))
    label = renumbered(array[0], case["values"]).astype(np.uint8)
    mark = hashlib.sha1(str(case["image"]).encode()).hexdigest()[:8]  # names may occur twice
    suffix = ".png" if meta.get("is_photo") else ".nii.gz"
    path = folder / f"{case_name(case['image'])}_{mark}{suffix}"
    with atomic_path(path) as temporary:
        if suffix == ".png":
            Image.fromarray(label.T).save(temporary)
        else:
            nibabel.save(nibabel.Nifti1Image(label, meta["affine"]), temporary)
    return {**entry, "label": str(path)}
