"""The README of a new bundle, before anybody has trained or measured anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SLICES = """\
Slices of {config[slice_size]} x {config[slice_size]} pixels along the axes {config[slice_axes]} of RAS
volumes, resampled to {config[spacing]} mm (-1: as it is), {config[slice_context]} neighbours on each side;
left-right mirroring (probability {config[flip_probability]:g})"""
_PICTURES = """\
Images resized to {config[image_size]} x {config[image_size]}; mirroring of each axis (probability
{config[flip_probability]:g})"""
_RECIPE = """, affine and intensity augmentation; AdamW {config[learning_rate]:g}, cosine, up to
{config[max_epochs]} epochs, seed {config[seed]}; masks of coarser levels are supervised too.
"""


def card_of(
    title: str, labels: Sequence[str], is_volume: bool, largest_part: bool, start: str | None
) -> dict[str, Any]:
    """Content of docs/card.yaml.

    Args:
        title: of the README.
        labels: names of label values 1..K.
        is_volume: of volumes, not pictures.
        largest_part: of each label only the largest connected part is kept.
        start: bundle that the first weights come from; None: there are none, or of no bundle.
    """
    named = ", ".join(f"{label} (label {value})" for value, label in enumerate(labels, start=1))
    parts = "; each label keeps its largest connected part" if largest_part else ""
    begun = f"The first `models/model.pt` comes from {start}, which knew other labels.\n"
    return {
        "title": title,
        "overview": f"{named[0].upper()}{named[1:]}.",
        "limits": ["Nothing is measured yet: judge the weights on cases they were not trained on."],
        "data": "Your own `images/` and `masks/` (or `labels/`); see `docs/data_license.txt`.",
        "training": (_SLICES if is_volume else _PICTURES) + _RECIPE + (begun if start else ""),
        "input": "One-channel volumes (NIfTI, NRRD, DICOM file or series folder), any orientation and spacing."
        if is_volume
        else "RGB or grey images: PNG, JPG, TIFF, BMP, single-frame DICOM, of any size.",
        "output": (
            f"A label map on the volume's own grid, `CASE_seg.nii.gz`{parts}."
            if is_volume
            else "A label map of the image's size, `IMAGE_seg.png`, with label numbers as values (it looks"
            " black in a viewer)."
        )
        + " `summary.csv` and `summary.json` hold volume or area, presence and the concepts read out, for"
        " each label; an overlay picture lies beside every mask.",
        "performance": [{"file": "metrics.json", "network": "this bundle"}],
        "license": "Configuration and code: Apache License 2.0, see `LICENSE`. Data and weights: see"
        " `docs/data_license.txt`. Research and annotation support only; not for clinical use.",
    }
