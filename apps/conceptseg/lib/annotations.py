"""What is measured in a label the moment it is saved: concepts, and how much the proposal was changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Orientation

from conceptseg.active_learning import ATTRIBUTE_NAMES
from conceptseg.active_learning.measuring import measured_indices
from conceptseg.atomic import atomic_path
from conceptseg.concepts import ATTRIBUTES, number_bin
from conceptseg.overlay import overlay_image
from conceptseg.readout import UNKNOWN

from .bundle import Bundle
from .corrections import Corrections
from .preflight import label_numbers, reader_of
from .proposals import read_label
from .renumber import renumbered

THUMBNAIL_PIXELS = 220


def read_case(
    image: str, label: str, bundle: Bundle, values: Mapping[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, *spatial) and label map (*spatial), volumes turned to RAS; photographs in 0..1.

    Args:
        image: file.
        label: file as the client saved it.
        bundle: for its labels and dimension.
        values: value in the file -> value in the bundle, as `own_values` gives them.
    """
    arrays = []
    for path, is_label in ((image, False), (label, True)):
        reader = reader_of(bundle, is_label)
        array, meta = reader.get_data(reader.read(path))
        if bundle.dimension == 3:
            turned = Orientation("RAS", labels=None)(MetaTensor(array, affine=meta["affine"]))
            array = turned.as_tensor().numpy()
        arrays.append(np.asarray(array))
    shown = arrays[0].astype(np.float32)
    if bundle.dimension == 2 and shown.shape[0] == 3:
        shown /= 255
    return shown, label_numbers(renumbered(arrays[1][0], values or {}), bundle)


def values_of(indices: np.ndarray, bundle: Bundle) -> dict[str, dict[str, str]]:
    """Label name -> attribute -> value of (K, A) indices, unknown ones left out."""
    return {
        name: {
            attribute: ATTRIBUTES[attribute][value]
            for attribute, value in zip(ATTRIBUTE_NAMES, row, strict=True)
            if value != UNKNOWN
        }
        for name, row in zip(bundle.keywords, indices.tolist(), strict=True)
    }


def indices_of(values: dict[str, dict[str, str]], bundle: Bundle) -> np.ndarray:
    """(K, A) indices of what `values_of` gave."""
    return np.array(
        [
            [
                ATTRIBUTES[attribute].index(values[name][attribute])
                if attribute in values.get(name, {})
                else UNKNOWN
                for attribute in ATTRIBUTE_NAMES
            ]
            for name in bundle.keywords
        ]
    )


def measure(shown: np.ndarray, label: np.ndarray, bundle: Bundle, axis: int) -> dict[str, dict]:
    """Label name -> attribute -> value measured in a label map; see `read_case` for the arrays."""
    return values_of(measured_indices(shown, label, bundle.keywords, axis), bundle)


def with_corrections(values: dict[str, dict], corrections: Corrections) -> dict[str, dict]:
    """The measured values, with what the annotator said in their place."""
    result = {name: dict(entry) for name, entry in values.items()}
    for name, said in corrections.items():
        for attribute, value in said.items():
            result[name][attribute] = number_bin(value) if attribute == "number" else value
    return result


def change(
    proposal: tuple[np.ndarray, dict[str, Any]] | None,
    label_file: str,
    values: Mapping[int, int],
    bundle: Bundle,
) -> dict[str, Any]:
    """What was proposed ("proposal"), and Dice between it and a saved label ("dice", "mean_dice").

    Args:
        proposal: mask and facts, as `Proposals.of` gives them.
        label_file: as the client saved it.
        values: value in the file -> value in the bundle, as `own_values` gives them.
        bundle: for its labels.
    """
    if proposal is None:
        return {"proposal": None, "dice": None, "mean_dice": None}
    mask, facts = proposal
    saved = label_numbers(renumbered(read_label(label_file), values), bundle)
    dice = agreement(mask, saved, bundle)
    mean = None if dice is None else round(float(np.mean(list(dice.values()))), 4)
    return {"proposal": facts, "dice": dice, "mean_dice": mean}


def agreement(proposed: np.ndarray, saved: np.ndarray, bundle: Bundle) -> dict[str, float] | None:
    """Dice of each label between a proposal and what was saved; None where their sizes differ."""
    if proposed.shape != saved.shape:
        return None
    result = {}
    for name, value in bundle.labels.items():
        first, second = proposed == value, saved == value
        both = int(first.sum()) + int(second.sum())
        result[name] = round(2 * int((first & second).sum()) / both, 4) if both else 1.0
    return result


def write_thumbnail(path: Path, shown: np.ndarray, label: np.ndarray, bundle: Bundle) -> None:
    """A small picture of the image with its label; of a volume, the slice with most of it."""
    picture = overlay_image(shown, label, keywords=bundle.keywords, max_slices=1)
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    with atomic_path(path) as temporary:
        picture.save(temporary)
