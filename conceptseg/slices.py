"""Volumes as stacks of slices: neighbouring slices become the channels of a 2-D image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable
from torch import Tensor
from torch.nn import functional as F

RAS_DIRECTIONS = ("right", "anterior", "superior")  # in which each index of a RAS volume grows


def slice_directions(axis: int) -> tuple[str, ...]:
    """Directions of the two in-plane axes of a slice of a RAS volume taken along `axis`."""
    return tuple(word for i, word in enumerate(RAS_DIRECTIONS) if i != axis)


def volume_to_slices(
    volume: Tensor, axis: int, context: int = 0, only: Sequence[int] | None = None
) -> Tensor:
    """Cut a volume into slices with their neighbours as channels; the border slice is repeated.

    Args:
        volume: (C, X, Y, Z).
        axis: spatial axis 0, 1 or 2 that is cut.
        context: neighbours on each side.
        only: indices of the wanted slices; None: all N.

    Returns:
        (N, C * (2 * context + 1), H, W); the slice itself stands in the middle of each channel's group.
    """
    stack = volume.movedim(axis + 1, 0)  # (N, C, H, W)
    count = stack.shape[0]
    centre = torch.arange(count) if only is None else torch.as_tensor(only)
    offsets = torch.arange(-context, context + 1)
    index = (centre[:, None] + offsets).clamp(0, count - 1).to(stack.device)  # (N, 2 * context + 1)
    return stack[index].transpose(1, 2).flatten(1, 2)


def slices_to_volume(slices: Tensor, axis: int) -> Tensor:
    """Stack slices (N, K, H, W) to a volume (K, X, Y, Z); the inverse of cutting along `axis`."""
    return slices.movedim(0, axis + 1)


def pad_to_multiple(image: Tensor, divisor: int, minimum: int = 0) -> tuple[Tensor, tuple]:
    """Zero-pad the last two axes around their centre.

    Args:
        image: (..., H, W).
        divisor: both become a multiple of it; with a divisor above 1 at least two of it, because
            instance normalisation refuses a coarsest map of one position.
        minimum: and at least this.

    Returns:
        The padded image and the slices that cut the original field out of it.
    """
    padding, inner = [], []
    least = max(minimum, 2 * divisor if divisor > 1 else 1)
    for size in image.shape[-2:]:
        target = -(-max(size, least) // divisor) * divisor
        before = (target - size) // 2
        padding = [before, target - size - before, *padding]
        inner.append(slice(before, before + size))
    return F.pad(image, padding), (..., *inner)


def segment_by_slices(
    segment: Callable[[Tensor], Tensor],
    volume: Tensor,
    axis: int,
    context: int,
    divisor: int,
    batch: int,
) -> Tensor:
    """Segment a volume slice by slice.

    Args:
        segment: slices (N, C * (2 * context + 1), H, W) -> logits (N, K, H, W).
        volume: (C, X, Y, Z).
        axis: spatial axis that is cut.
        context: neighbours on each side.
        divisor: height and width that `segment` takes are multiples of it.
        batch: slices at a time.

    Returns:
        (K, X, Y, Z).
    """
    stack, inner = pad_to_multiple(volume_to_slices(volume, axis, context), divisor)
    logits = torch.cat([segment(part) for part in stack.split(batch)])
    return slices_to_volume(logits[inner], axis)


def _plain(array: Tensor) -> Tensor:
    """`array` without metadata, whose bookkeeping would cost more than the work."""
    return array.as_tensor() if isinstance(array, MetaTensor) else torch.as_tensor(array)


class SliceSamplesd(Randomizable, MapTransform):
    """Draws random slices of a volume for training, with neighbours as channels of the image.

    Args:
        keys: the image key first, then the label key; both (C, X, Y, Z) in RAS.
        axes: spatial axes to cut along, drawn uniformly.
        context: neighbours on each side; the label keeps the middle slice only.
        num_samples: slices drawn from a volume.
        foreground_share: share of the draws that hit a slice with foreground.
        size: in-plane size every slice is cropped or padded to, centred.

    Returns:
        A list of dictionaries; image (C * (2 * context + 1), size, size), label (1, size, size) and
        "directions", the words for the two axes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        axes: Sequence[int] = (2,),
        context: int = 2,
        num_samples: int = 8,
        foreground_share: float = 0.75,
        size: int = 64,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.axes = tuple(axes)
        self.context = context
        self.num_samples = num_samples
        self.foreground_share = foreground_share
        self.size = size

    def __call__(self, data: dict[Hashable, Tensor]) -> list[dict]:
        """Draw the slices of one case; see the class."""
        image_key, label_key = self.keys
        image, label = (_plain(data[key]) for key in self.keys)
        other = {
            k: v for k, v in data.items() if k not in self.keys and not str(k).endswith("_dict")
        }
        file = getattr(data[image_key], "meta", {}).get("filename_or_obj")  # whose slices they are
        samples = []
        for _ in range(self.num_samples):
            axis = int(self.R.choice(self.axes))
            index = self._draw_index(label, axis)
            sample = dict(other)
            cut = volume_to_slices(image, axis, self.context, [index])[0]
            sample[image_key] = self._fit(cut)
            if file is not None:
                sample[image_key].meta["filename_or_obj"] = file
            sample[label_key] = self._fit(volume_to_slices(label, axis, 0, [index])[0])
            sample["directions"] = ",".join(slice_directions(axis))
            samples.append(sample)
        return samples

    def _draw_index(self, label: Tensor, axis: int) -> int:
        """Index of a slice along `axis`, with foreground by `foreground_share`."""
        rest = tuple(i for i in range(label.ndim) if i != axis + 1)
        foreground = np.flatnonzero((label > 0).numpy().any(axis=rest))
        if len(foreground) and self.R.rand() < self.foreground_share:
            return int(self.R.choice(foreground))
        return int(self.R.randint(label.shape[axis + 1]))

    def _fit(self, image: Tensor) -> MetaTensor:
        """Centre-crop or zero-pad the plane of (C, H, W) to `size`."""
        for dim in (1, 2):
            excess = image.shape[dim] - self.size
            if excess > 0:
                image = image.narrow(dim, excess // 2, self.size)
        return MetaTensor(pad_to_multiple(image, 1, self.size)[0].clone())
