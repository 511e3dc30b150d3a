"""Resampling that tolerates what a MONAI Label request puts beside the image, and the way back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Invertd, Spacingd
from monai.transforms.utils import convert_applied_interp_mode


class RequestSpacingd(Spacingd):
    """MONAI's `Spacingd`, keeping its hands off the other entries of a request.

    MONAI 1.6.1 takes every entry whose key starts with the image's key for metadata and updates it;
    MONAI Label 0.8.5 puts the text "image_path" there, and the request fails.
    """

    def __call__(self, data: Mapping[Hashable, object], lazy: bool | None = None) -> dict:
        """Resample the keys; entries that are plain text pass by unseen."""
        texts = {key: value for key, value in data.items() if isinstance(value, str)}
        rest = {key: value for key, value in data.items() if key not in texts}
        return texts | super().__call__(rest, lazy)


class BilinearInvertd(Invertd):
    """MONAI's `Invertd`, going back with bilinear interpolation, whatever the way there was.

    `Invertd` knows the nearest neighbour and the mode of the way there. A picture that was made smaller by
    "area" would come back in blocks, as that mode repeats pixels where it enlarges.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, nearest_interp=False)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Invert the keys; images that only show the way keep their own record of it."""
        originals = {key: data[key] for key in self.orig_keys if key in data}
        changed = {key: _bilinear(image) for key, image in originals.items()}
        kept = {key: image for key, image in originals.items() if key not in self.keys}
        return super().__call__({**data, **changed}) | kept


def _bilinear(image: MetaTensor) -> MetaTensor:
    """The image with a record that says it was resampled by bilinear interpolation."""
    steps = convert_applied_interp_mode(image.applied_operations, mode="bilinear")
    return MetaTensor(image, applied_operations=steps)
