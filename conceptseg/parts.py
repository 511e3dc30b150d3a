"""Connected parts of a mask: where they lie, and whether they hold an object."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

SPECK = 0.1  # of the largest part: smaller ones do not decide where the object lies


def numbered_parts(probability: Tensor) -> np.ndarray:
    """Connected parts of a mask (*spatial), numbered from 1; 0 is the background."""
    return ndimage.label(probability.detach().cpu().numpy() > 0.5)[0]


def connected_parts(probability: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The numbered parts of a mask (*spatial), and their centres (N, axes) in [0, 1]."""
    parts = numbered_parts(probability)
    count = int(parts.max(initial=0))
    centres = ndimage.center_of_mass(parts > 0, parts, range(1, count + 1)) if count else []
    return parts, (np.reshape(centres, (count, parts.ndim)) + 0.5) / parts.shape


def part_sizes(parts: np.ndarray) -> np.ndarray:
    """Pixels (N,) of the numbered parts (*spatial)."""
    return np.bincount(parts.ravel())[1:]


def hold_an_object(parts: np.ndarray, chosen: np.ndarray) -> bool:
    """Whether the chosen parts (N + 1,), background first, hold more than specks."""
    sizes = part_sizes(parts)
    return bool(sizes[chosen[1:]].max(initial=0) >= SPECK * sizes.max(initial=1))


def only_parts(probability: Tensor, parts: np.ndarray, chosen: np.ndarray) -> Tensor:
    """Probability (*spatial) without the parts that are not chosen (N + 1,), background first."""
    return probability * torch.as_tensor(chosen[parts]).to(probability)


def keep_by_size(probability: Tensor, smallest: bool, count: int = 1) -> Tensor:
    """A mask's probability (*spatial) with the `count` largest or smallest parts alone, zero in the others.

    Specks are no parts here, see `SPECK`; the soft border around the mask stays.
    """
    parts = numbered_parts(probability)
    sizes = part_sizes(parts)
    if not len(sizes):
        return probability.clone()
    order = np.argsort(sizes if smallest else -sizes, kind="stable")
    order = order[sizes[order] >= SPECK * sizes.max()][:count]
    kept = np.isin(np.arange(len(sizes) + 1), [0, *(order + 1)])
    return only_parts(probability, parts, kept)
