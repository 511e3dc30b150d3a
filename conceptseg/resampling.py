"""Resampling that tolerates what a MONAI Label request puts beside the image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from monai.transforms import Spacingd


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
