"""Checks of loaded images and masks, and the transforms that bring masks to labels 0..K."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

# Values that an 8-bit mask may take when it means "object": JPEG blurs 0/255 masks at borders.
_MASK_THRESHOLD = 127
# Headers are rounded differently by different programs; a shift below half a voxel leaves every
# voxel of the mask on its voxel of the image.
_SHIFT_TOLERANCE_VOXELS = 0.5
_SHOWN_VALUES = 8


def _file_of(array: Any) -> str:
    """Name the file an array came from, for error messages."""
    return f"'{getattr(array, 'meta', {}).get('filename_or_obj', 'an array without file name')}'"


def _as_tensor(array: Any) -> torch.Tensor:
    """Give ``array`` as a plain tensor; refuse what is not made of real numbers."""
    if isinstance(array, torch.Tensor):
        tensor = array.as_tensor() if hasattr(array, "as_tensor") else array
        if not tensor.is_complex():
            return tensor
    elif isinstance(array, np.ndarray) and array.dtype.kind in "biuf":
        if array.dtype in (np.uint16, np.uint32, np.uint64):
            array = array.astype(np.int64)
        return torch.as_tensor(np.ascontiguousarray(array))
    raise TypeError(
        f"Expected an array of real numbers in {_file_of(array)}, got {type(array).__name__} of "
        f"{getattr(array, 'dtype', 'unknown type')}. Load the file with LoadImaged first."
    )


def _check_shape(tensor: torch.Tensor, file: str, spatial_dims: int | None) -> None:
    """Refuse arrays without elements and with other than two or three spatial axes."""
    shape, wanted = (
        tuple(tensor.shape),
        (2, 3) if spatial_dims is None else (spatial_dims,),
    )
    if tensor.ndim - 1 not in wanted:
        raise ValueError(
            f"Expected shape (channels, *space) with {' or '.join(map(str, wanted))} spatial axes "
            f"in {file}, got shape {shape}. Use one time point or slice, channel axis first."
        )
    if tensor.numel() == 0:
        raise ValueError(
            f"Expected at least one voxel in {file}, got shape {shape}. Export the image again."
        )


class CheckImaged(MapTransform):
    """Refuse images that would silently give nonsense; pass all others through unchanged.

    Args:
        keys: entries to check, each (C, *spatial).
        channels: required C, None for any.
        spatial_dims: required number of spatial axes, None for two or three.
        allow_missing_keys: do nothing for absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: int | None = None,
        spatial_dims: int | None = None,
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, allow_missing_keys)
        self.channels = channels
        self.spatial_dims = spatial_dims

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check every key.

        Raises:
            TypeError: not an array of real numbers.
            ValueError: wrong axes or channels, no voxels, NaN or infinite voxels.
        """
        for key in self.key_iterator(data):
            tensor, file = _as_tensor(data[key]), _file_of(data[key])
            _check_shape(tensor, file, self.spatial_dims)
            if self.channels is not None and tensor.shape[0] != self.channels:
                raise ValueError(
                    f"Expected {self.channels} channel(s) in {file}, got shape "
                    f"{tuple(tensor.shape)}. Convert the image, or use the bundle made for it."
                )
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                bad = int((~torch.isfinite(tensor)).sum())
                raise ValueError(
                    f"Expected finite values in {file}, got {bad} NaN or infinite of "
                    f"{tensor.numel()} voxels. Replace them (background value) and save again."
                )
        return dict(data)


class CheckLabeld(MapTransform):
    """Refuse masks that do not fit their image or hold values outside the label set.

    Args:
        keys: label maps, each (1, *spatial) with 0 for background.
        num_labels: K; values allowed are 0..K.
        image_key: entry of the image the mask belongs to; None or absent: not compared.
        check_affine: also require the image's position in space (files that have one).
        allow_missing_keys: do nothing for absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        num_labels: int,
        image_key: str | None = "image",
        check_affine: bool = True,
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, allow_missing_keys)
        self.num_labels = num_labels
        self.image_key = image_key
        self.check_affine = check_affine

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check every key.

        Raises:
            TypeError: not an array of real numbers.
            ValueError: wrong axes, several channels, another size or position than the image, or
                values outside 0..K.
        """
        for key in self.key_iterator(data):
            tensor, file = _as_tensor(data[key]), _file_of(data[key])
            _check_shape(tensor, file, None)
            if tensor.shape[0] != 1:
                raise ValueError(
                    f"Expected one channel of label numbers in {file}, got shape "
                    f"{tuple(tensor.shape)}. Merge the channels into one label map."
                )
            if self.image_key is not None and self.image_key in data:
                self._check_grid(data[key], data[self.image_key])
            self._check_values(tensor, file)
        return dict(data)

    def _check_grid(self, label: Any, image: Any) -> None:
        """Refuse a mask on another grid than its image."""
        if tuple(label.shape[1:]) != tuple(image.shape[1:]):
            raise ValueError(
                f"Expected mask {_file_of(label)} of the size of its image {_file_of(image)}, "
                f"{tuple(image.shape[1:])}; got {tuple(label.shape[1:])}. Resample the mask to the "
                "image (nearest neighbour), and check the EXIF orientation of photographs."
            )
        if self.check_affine and _has_position(label) and _has_position(image):
            shift = corner_shift(label.affine, image.affine, image.shape[1:])
            if shift > _SHIFT_TOLERANCE_VOXELS:
                raise ValueError(
                    f"Expected mask {_file_of(label)} at the position of its image "
                    f"{_file_of(image)}; got a corner {shift:.3g} voxels away. Resample the mask "
                    "to the image, or copy the image's header if the voxels match."
                )

    def _check_values(self, tensor: torch.Tensor, file: str) -> None:
        """Refuse values outside 0..K."""
        values = torch.unique(tensor)
        wrong = [value.item() for value in values if value.item() not in range(self.num_labels + 1)]
        if wrong:
            shown = ", ".join(f"{value:g}" for value in wrong[:_SHOWN_VALUES])
            more = f" and {len(wrong) - _SHOWN_VALUES} more" if len(wrong) > _SHOWN_VALUES else ""
            raise ValueError(
                f"Expected label numbers 0..{self.num_labels} in {file}, got also {shown}{more}. "
                "Map them with LabelMapd (or ThresholdMaskd for 0/255 masks), or correct the mask."
            )


def _has_position(image: Any) -> bool:
    """Whether an image knows where it lies in space; a photograph, such as the mask of a radiograph, does not."""
    return hasattr(image, "affine") and not getattr(image, "meta", {}).get("is_photo", False)


def corner_shift(
    label_affine: torch.Tensor, image_affine: torch.Tensor, shape: torch.Size
) -> float:
    """Give how far apart, in voxels of the image, two (4, 4) affines put a corner of the array."""
    to_image = np.linalg.solve(np.asarray(image_affine), np.asarray(label_affine))
    corners = np.array([(0, size - 1) for size in (*shape, 1, 1)[:3]])
    points = np.array([*np.meshgrid(*corners), np.ones((2, 2, 2))]).reshape(4, -1)
    return float(np.abs(to_image @ points - points).max())


def threshold_mask(mask: torch.Tensor, file: str = "a mask") -> torch.Tensor:
    """Give the binary mask (float32, 0 or 1) of a 0/1, 0/255 or 0/65535 mask, JPEG noise included.

    Masks with values up to 1 are cut above 0.5, others above 127.

    Args:
        mask: any shape, real numbers.
        file: named in the error.

    Raises:
        ValueError: negative values, or a largest value from 2 to 127: label numbers of several
            classes, not a binary mask.
    """
    lowest, highest = (float(mask.min()), float(mask.max())) if mask.numel() else (0.0, 0.0)
    if not (lowest >= 0 and (highest <= 1 or highest > _MASK_THRESHOLD)):
        raise ValueError(
            f"Expected a binary mask of values 0/1 or 0/255 in {file}, got values from {lowest:g} "
            f"to {highest:g}. Map label numbers with LabelMapd instead."
        )
    return (mask > (0.5 if highest <= 1 else _MASK_THRESHOLD)).to(torch.float32)


def map_labels(
    mask: torch.Tensor,
    mapping: Mapping[int, int],
    others: int | None = None,
    file: str = "a mask",
) -> torch.Tensor:
    """Give ``mask`` (float32) with every value replaced as ``mapping`` says.

    Args:
        mask: any shape, whole numbers.
        mapping: value in the file -> label number.
        others: label number for all values not in ``mapping``; None refuses them.
        file: named in the error.

    Raises:
        ValueError: a value is not in ``mapping`` and ``others`` is None.
    """
    table = {int(value): int(label) for value, label in mapping.items()}
    unknown = [value.item() for value in torch.unique(mask) if value.item() not in table]
    if unknown and others is None:
        shown = ", ".join(f"{value:g}" for value in unknown[:_SHOWN_VALUES])
        raise ValueError(
            f"Expected only the values {sorted(table)} in {file}, got also {shown}. Add them to "
            "the mapping, or name a label for all others."
        )
    mapped = torch.zeros_like(mask, dtype=torch.float32) + (others or 0)
    for value, label in table.items():
        mapped[mask == value] = label
    return mapped


class ThresholdMaskd(MapTransform):
    """Turn 0/1, 0/255 or JPEG masks into 0/1 (float32); see ``threshold_mask``."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Threshold every key; metadata are kept."""
        entries = dict(data)
        for key in self.key_iterator(entries):
            entries[key] = threshold_mask(entries[key], _file_of(entries[key]))
        return entries


class LabelMapd(MapTransform):
    """Map the values of mask files to label numbers 0..K (float32); see ``map_labels``.

    Args:
        keys: label maps, any shape.
        mapping: value in the file -> label number, for example {0: 0, 85: 1, 255: 2}.
        others: label number for all values not in ``mapping``; None refuses them.
        allow_missing_keys: do nothing for absent keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mapping: Mapping[int, int],
        others: int | None = None,
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, allow_missing_keys)
        self.mapping = {int(value): int(label) for value, label in mapping.items()}
        self.others = others

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Map every key; metadata are kept.

        Raises:
            ValueError: a value is neither mapped nor covered by ``others``.
        """
        entries = dict(data)
        for key in self.key_iterator(entries):
            entries[key] = map_labels(
                entries[key], self.mapping, self.others, _file_of(entries[key])
            )
        return entries
