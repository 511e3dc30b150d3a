"""Images without an object, cut beside one: they teach, and test, that a mask may be empty."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor
from torch.nn import functional as F

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


class RandCropBesided(RandomizableTransform, MapTransform):
    """Replaces a 2-D image by a part of it that lies beside its objects, scaled to the same size.

    Images whose objects leave no room, and images without an object, are left as they are.

    Args:
        keys: image (C, W, H) and label (1, W, H), in this order.
        prob: probability with which an image becomes one without an object.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        if len(self.keys) != 2:
            raise ValueError(f"expected the keys of an image and its label, got {self.keys}")

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        """`data` as an image without an object, or unchanged."""
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        image_key, label_key = self.keys
        parts = parts_beside(np.asarray(result[label_key])[0] > 0)
        if parts:
            axis, start, length = parts[int(self.R.randint(len(parts)))]
            result[image_key] = scaled_part(result[image_key], axis, start, length)
            result[label_key] = torch.zeros_like(result[label_key])
        return result
