"""Images without an object, cut beside one: they teach, and test, that a mask may be empty."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import KeysCollection
from torch import Tensor
from torch.nn import functional as F

from .random_pair import RandPaird

LEAST = 0.3  # of an axis: narrower empty parts say little


def parts_beside(mask: np.ndarray) -> list[tuple[int, int, int]]:
    """Parts of an image on one side of all objects of `mask` (*spatial), the largest first.

    Returns:
        Axis, start and length of each part of at least `LEAST` of its axis; [] without an object.
    """
    found = []
    for axis, length in enumerate(mask.shape):
        hit = np.flatnonzero(mask.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
        if len(hit):
            for start, stop in ((0, int(hit[0])), (int(hit[-1]) + 1, length)):
                if (stop - start) / length >= LEAST:
                    found.append((axis, start, stop - start))
    return sorted(found, key=lambda part: -part[2] / mask.shape[part[0]])


def scaled_part(image: Tensor, axis: int, start: int, length: int) -> Tensor:
    """A part of a 2-D `image` (C, W, H), scaled up to the image's size."""
    part = image.narrow(axis + 1, start, length)
    return F.interpolate(part[None], image.shape[1:], mode="bilinear", align_corners=False)[0]


class RandCropBesided(RandPaird):
    """Replaces a 2-D image by a part of it that lies beside its objects, scaled to the same size.

    Images whose objects leave no room, and images without an object, are left as they are.

    Args:
        keys: image (C, W, H) and label (1, W, H), in this order.
        prob: probability with which an image becomes one without an object.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1) -> None:
        super().__init__(keys, prob)

    def change(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """A part of the image, and an empty label."""
        parts = parts_beside(np.asarray(label)[0] > 0)
        if not parts:
            return image, label
        part = parts[int(self.R.randint(len(parts)))]
        return scaled_part(image, *part), torch.zeros_like(label)
