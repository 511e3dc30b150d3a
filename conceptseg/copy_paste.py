"""Copy-paste augmentation: a second object teaches that a prompt's place decides which one is meant."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import KeysCollection
from scipy import ndimage
from torch import Tensor

from .random_pair import RandPaird

_TRIES = 20  # places tried for the copy
_MARGIN = 0.25  # of the object's box, copied with it
_FEATHER_PX = 2.0  # width of the blend around the copy
_MOST = 0.25  # of the image: larger boxes are not copied


class RandCopyPasted(RandPaird):
    """Copies one object of a 2-D image, mirrored at random, to a free place of the same image.

    Source: Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
    Segmentation", CVPR 2021, within one image, so that light and color fit. Images without an object,
    with large objects alone, or without room are left as they are.

    Args:
        keys: image (C, W, H) and label (1, W, H), in this order.
        prob: probability of a copy.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.3) -> None:
        super().__init__(keys, prob)

    def change(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Image and label with the copy."""
        plane = np.asarray(label)[0]
        parts, count = ndimage.label(plane > 0)
        if not count:
            return image, label
        number = int(self.R.randint(count)) + 1
        box = _with_margin(ndimage.find_objects(parts)[number - 1], plane.shape)
        size = tuple(b.stop - b.start for b in box)
        place = self._free_place(plane > 0, size)
        object_mask = (parts == number)[box]
        neighbours = ((parts[box] > 0) & ~object_mask).any()
        if size[0] * size[1] > _MOST * plane.size or place is None or neighbours:
            return image, label
        flips = [axis for axis in (0, 1) if self.R.rand() < 0.5]
        weight = torch.as_tensor(np.flip(_weight(object_mask), flips).copy(), dtype=torch.float32)
        values = np.flip(np.where(object_mask, plane[box], 0), flips).copy()
        target = tuple(slice(p, p + s) for p, s in zip(place, size, strict=True))
        copied = torch.flip(image[(slice(None), *box)], [axis + 1 for axis in flips])
        new_image, new_label = image.clone(), label.clone()
        under = new_image[(slice(None), *target)]
        new_image[(slice(None), *target)] = under * (1 - weight) + copied * weight
        pasted = torch.as_tensor(values).to(new_label.dtype)
        there = new_label[(0, *target)]
        new_label[(0, *target)] = torch.where(pasted > 0, pasted, there)
        return new_image, new_label

    def _free_place(self, taken: np.ndarray, size: tuple[int, int]) -> tuple[int, int] | None:
        """Corner of a box of `size` that meets no object; None if none is found."""
        for _ in range(_TRIES):
            corner = tuple(
                int(self.R.randint(n - s + 1)) for n, s in zip(taken.shape, size, strict=True)
            )
            box = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
            if not taken[box].any():
                return corner
        return None


def _with_margin(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box with its margin, inside the image."""
    result = []
    for part, length in zip(box, shape, strict=True):
        pad = max(2, round(_MARGIN * (part.stop - part.start)))
        result.append(slice(max(0, part.start - pad), min(length, part.stop + pad)))
    return tuple(result)


def _weight(mask: np.ndarray) -> np.ndarray:
    """1 on the object, falling to 0 at the border of its box."""
    inside = np.pad(np.ones(mask.shape, dtype=bool), 1)
    distance = ndimage.distance_transform_edt(inside)[1:-1, 1:-1] - 1
    return np.maximum(np.minimum(distance / _FEATHER_PX, 1), mask)
