"""What is wrong with saved labels, said before training starts; and the concepts measured in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from conceptseg.concepts import MeasuredConcepts, concepts_to_sentence
from conceptseg.grid import PHOTO_DIRECTIONS, directions_of
from conceptseg.image_headers import shape_and_affine
from conceptseg.image_io import ConceptImageReader

from .bundle import Bundle
from .renumber import renumbered


def check_cases(
    training: Sequence[Mapping[str, Any]], validation: Sequence[Mapping[str, Any]], bundle: Bundle
) -> tuple[list[str], list[str]]:
    """What keeps saved labels from being trained on.

    Args:
        training: image and label paths of the cases to train on; "values" where the label's are not
            the bundle's, see `renumber`.
        validation: of those the new weights are judged on.
        bundle: for its labels and dimension.

    Returns:
        One sentence per problem, empty when there is none; and the images whose label is empty,
        which are trained on as images without any object.
    """
    problems: list[str] = []
    values: dict[str, set[int]] = {}
    for case in [*training, *validation]:
        found = _values(case, bundle)
        if isinstance(found, str):
            problems.append(f"{Path(case['image']).name}: {found}")
        else:
            values[case["image"]] = found
    if problems:
        return problems, []
    seen = set().union(*(values[case["image"]] for case in training))
    missing = [name for name, value in bundle.labels.items() if value not in seen]
    if missing:
        problems.append(
            f"Expected every label in at least one of the {len(training)} images to train on, got"
            f" none with {', '.join(missing)}; annotate more images that show it"
        )
    if not any(values[case["image"]] - {0} for case in validation):
        names = ", ".join(Path(case["image"]).name for case in validation)
        problems.append(
            f"Expected an object in the images to validate on ({names}), got empty labels alone;"
            " annotate more images"
        )
    return problems, sorted(Path(image).name for image, v in values.items() if not v - {0})


def _values(case: Mapping[str, Any], bundle: Bundle) -> set[int] | str:
    """Values of a label file, or what is wrong with it; of the image, the header alone is read."""
    try:
        shape, _ = shape_and_affine(case["image"], 2 if bundle.dimension == 2 else None)
        label = renumbered(_read_label(case["label"], bundle), case.get("values", {}))
    except (ValueError, OSError) as error:
        return str(error)
    if shape != label.shape[1:]:
        return (
            f"expected a label of the image's size {shape}, got {label.shape[1:]}; save"
            " it on the image's grid"
        )
    found = {int(v) for v in np.unique(label_numbers(label, bundle))}
    wrong = sorted(found - set(range(len(bundle.keywords) + 1)))
    if wrong:
        return (
            f"expected label values 0..{len(bundle.keywords)}, got also"
            f" {', '.join(map(str, wrong[:5]))}; correct the segments and submit again"
        )
    return found


def label_numbers(label: np.ndarray, bundle: Bundle) -> np.ndarray:
    """Label values; a 0/255 mask of a bundle with one label counts as 0/1."""
    if len(bundle.keywords) == 1 and label.max(initial=0) > 127:
        return (label > 127).astype(np.uint8)
    return label


def reader_of(bundle: Bundle, is_label: bool = False) -> ConceptImageReader:
    """Reader of its images: for photographs, a label that a client sends as a volume of one slice is 2-D."""
    return ConceptImageReader(is_label=is_label, spatial_dims=2 if bundle.dimension == 2 else None)


def _read_label(path: str, bundle: Bundle) -> np.ndarray:
    """(1, *spatial) of a label file."""
    reader = reader_of(bundle, is_label=True)
    return reader.get_data(reader.read(path))[0]


def measured_concepts(
    cases: Sequence[Mapping[str, str]], bundle: Bundle
) -> dict[str, dict[str, Any]]:
    """Image file name -> label name -> sentence of the concepts measured in its saved label."""
    source, result = MeasuredConcepts(), {}
    for case in cases:
        reader = reader_of(bundle)
        array, meta = reader.get_data(reader.read(case["image"]))
        label = label_numbers(_read_label(case["label"], bundle)[0], bundle)
        image = MetaTensor(array.astype(np.float32), affine=meta["affine"])
        axes = PHOTO_DIRECTIONS if bundle.dimension == 2 else directions_of(image)
        spacing = None
        if meta["spacing_known"]:
            spacing = tuple(float(x) for x in image.pixdim[: image.ndim - 1])
        shown = array.astype(np.float32) / (255 if array.shape[0] == 3 else 1)
        result[Path(case["image"]).name] = {
            name: concepts_to_sentence(source(shown, label == value, name, axes, spacing))
            for name, value in bundle.labels.items()
        }
    return result
