"""What is measured in a label the moment it is saved: concepts, and how much the proposal was changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Orientation

from conceptseg.active_learning import ATTRIBUTE_NAMES
from conceptseg.active_learning.measuring import measured_indices
from conceptseg.atomic import atomic_path
from conceptseg.concepts import ATTRIBUTES, Concepts, concepts_to_sentence, number_bin
from conceptseg.image_io import ConceptImageReader
from conceptseg.overlay import overlay_image
from conceptseg.readout import UNKNOWN

from .bundle import Bundle
from .callers import ANONYMOUS
from .corrections import Corrections
from .preflight import label_numbers, reader_of
from .renumber import own_values, renumbered, segments_of

THUMBNAIL_PIXELS = 220


@dataclass(frozen=True)
class SavedLabel:
    """A label as a client saved it.

    Attributes:
        image: file of the image.
        array: (*spatial) values of the label file, on its grid.
        affine: (4, 4) voxel to RAS.
        info: the client's `label_info`, entries with "name" and "idx".
    """

    image: str
    array: np.ndarray
    affine: np.ndarray
    info: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def read(
        cls, image: str, label: str, info: Sequence[Mapping[str, Any]] | None = None
    ) -> SavedLabel:
        """The label in a file; `image` and `label` are files."""
        reader = ConceptImageReader(is_label=True)
        array, meta = reader.get_data(reader.read(label))
        return cls(image, np.asarray(array)[0], meta["affine"], info or ())

    def drawn(self) -> set[str]:
        """Names, in small letters, of the segments with voxels; of all segments where none has any.

        Slicer names the labels of all bundles with every label, most of them empty.
        """
        present = set(np.unique(self.array).tolist())
        named = segments_of(self.info)
        return {name for name, entry in named if entry["idx"] in present} or {n for n, _ in named}

    def info_without(self, foreign: Set[str]) -> list[dict[str, Any]]:
        """The client's `label_info` without the empty segments of other bundles.

        With them the label would count for those bundles as an image without any object.

        Args:
            foreign: names of the other bundles' labels.
        """
        drawn, others = self.drawn(), {name.lower() for name in foreign}
        return [
            entry for name, entry in segments_of(self.info) if name in drawn or name not in others
        ]

    def numbers(self, bundle: Bundle) -> np.ndarray:
        """Label map (*spatial) in the bundle's values, on the grid of the file."""
        return label_numbers(renumbered(self.array, own_values(self.info, bundle)), bundle)


def best_bundle(drawn: Set[str], candidates: Sequence[Bundle]) -> Bundle:
    """The first candidate that has one of the drawn labels; where none has, the first."""
    for bundle in candidates:
        if drawn & {name.lower() for name in bundle.labels}:
            return bundle
    return candidates[0]


def read_case(saved: SavedLabel, bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, *spatial) and label map (*spatial), volumes turned to RAS; photographs in 0..1.

    Raises:
        ValueError: the bundle is for volumes, and the image is none, or the other way round.
    """
    reader = reader_of(bundle)
    image, meta = reader.get_data(reader.read(saved.image))
    label = saved.numbers(bundle)
    if bundle.dimension == 2:
        shown = image.astype(np.float32) / (255 if image.shape[0] == 3 else 1)
        return shown, label.reshape(image.shape[1:])
    if label.ndim != 3:
        raise ValueError(f"expected a volume for '{bundle.name}', got shape {label.shape}")
    return _to_ras(image, meta["affine"]).astype(np.float32), _to_ras(label[None], saved.affine)[0]


def _to_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(C, X, Y, Z) with axes that run to the right, to the front and up."""
    turned = Orientation("RAS", labels=None)(MetaTensor(array, affine=affine))
    return turned.as_tensor().numpy()


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
        entry = result.setdefault(name, {})
        for attribute, value in said.items():
            entry[attribute] = number_bin(value) if attribute == "number" else value
    return result


def sentences_of(values: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Label name -> sentence of its concepts."""
    result = {}
    for name, entry in values.items():
        said = dict(entry)
        if "number" in said:
            said["number"] = 4 if said["number"] == "many" else int(said["number"])
        result[name] = concepts_to_sentence(Concepts(keyword=name, **said))
    return result


def saved_event(
    image: str, info: Mapping[str, Any], lease: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Who saved a label of which image, when, and why the image was picked, for the record.

    Args:
        image: name in the studies.
        info: what the client sent along with the label.
        lease: of the image; {} where it was not offered to anybody.
        before: the image's last such event; {} for the first.
    """
    picked = lease or before
    held = before.get("seconds_held")
    return {
        "event": "saved",
        "image": image,
        "time": now_text(),
        "label_ts": info.get("ts"),
        "client": info.get("client_id") or info.get("user") or picked.get("client") or ANONYMOUS,
        "strategy": picked.get("strategy"),
        "reason": picked.get("reason"),
        "seconds_held": round(time.time() - lease["since"]) if lease else held,
    }


def now_text() -> str:
    """Time of day and zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def change(
    proposal: tuple[np.ndarray, dict[str, Any]] | None, saved: SavedLabel, bundle: Bundle
) -> dict[str, Any]:
    """What was proposed ("proposal"), and Dice between it and a saved label ("dice", "mean_dice").

    Args:
        proposal: mask and facts, as `Proposals.of` gives them.
        saved: what the client saved.
        bundle: of the saved label. A proposal of another one is not compared.
    """
    if proposal is None or proposal[1].get("bundle", bundle.name) != bundle.name:
        return {"proposal": None, "dice": None, "mean_dice": None}
    mask, facts = proposal
    labels = facts.get("labels", bundle.labels)
    dice = agreement(mask, np.squeeze(saved.numbers(bundle)), labels)
    mean = None if dice is None else round(float(np.mean(list(dice.values()))), 4)
    return {"proposal": facts, "dice": dice, "mean_dice": mean}


def agreement(
    proposed: np.ndarray, saved: np.ndarray, labels: Mapping[str, int]
) -> dict[str, float] | None:
    """Dice of each label between a proposal and what was saved; None where their sizes differ.

    Args:
        proposed: label map.
        saved: label map.
        labels: name -> value of those that the proposal tells of.
    """
    if proposed.shape != saved.shape:
        return None
    result = {}
    for name, value in labels.items():
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
