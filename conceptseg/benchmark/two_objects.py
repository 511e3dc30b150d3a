"""Test images with two objects in different places: as they are, and composed of two images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage

from .asking import parts_by_place
from .testing import TestCase

_MARGIN = 0.35  # of the object's box, taken over with it
_FEATHER_PX = 3.0  # width of the blend around a pasted object


def natural_cases(cases: Sequence[TestCase], value: int, keyword: str) -> Iterator[TestCase]:
    """The cases whose label `value` has objects in two places or more."""
    for case in cases:
        mask = np.asarray(case.label)[0] == value
        if len(parts_by_place(case.image, mask, keyword)) > 1:
            yield case


def composed_cases(
    cases: Sequence[TestCase], value: int, keyword: str, wanted: int = 40, seed: int = 0
) -> list[TestCase]:
    """Images with one more object, taken with its surroundings from another image.

    The object keeps its position. Pairs are drawn by `seed`; a pair is used when the objects lie in
    different places, their boxes (with margin) do not meet, and the pasted box is not most of the image.

    Args:
        cases: 2-D, from which both images of a pair are drawn.
        value: label value of the objects; other labels of the second image are not taken over.
        keyword: its name.
        wanted: number of composites; fewer when the pairs do not yield them.
        seed: of the drawing.
    """
    single = []
    for case in cases:
        places = parts_by_place(case.image, np.asarray(case.label)[0] == value, keyword)
        if len(places) == 1:
            single.append((case, *places.popitem()))
    random = np.random.default_rng(seed)
    composed: list[TestCase] = []
    used: set[tuple[int, int]] = set()
    for _ in range(50 * wanted):
        if len(composed) == wanted or len(single) < 2:
            break
        a, b = (int(i) for i in random.choice(len(single), 2, replace=False))
        (under, place, mask), (over, other_place, pasted) = single[a], single[b]
        if place == other_place or (a, b) in used or mask.shape != pasted.shape:
            continue
        box = _box(pasted)
        if mask[box].any() or pasted[box].size > 0.4 * mask.size:
            continue
        used.add((a, b))
        composed.append(_paste(under, over, box, pasted, value))
    return composed


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Bounding box of a mask with its margin, inside the image."""
    slices = []
    for axis, size in enumerate(mask.shape):
        hit = np.flatnonzero(mask.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
        pad = max(2, round(_MARGIN * (hit[-1] - hit[0] + 1)))
        slices.append(slice(max(0, int(hit[0]) - pad), min(size, int(hit[-1]) + 1 + pad)))
    return tuple(slices)


def _paste(
    under: TestCase, over: TestCase, box: tuple[slice, ...], pasted: np.ndarray, value: int
) -> TestCase:
    """`under` with the box of `over` blended in, and both objects as label."""
    inside = np.zeros(pasted.shape)
    inside[box] = 1
    distance = np.minimum(ndimage.distance_transform_edt(inside) / _FEATHER_PX, 1)
    weight = torch.as_tensor(np.maximum(distance, pasted), dtype=torch.float32)
    image = torch.as_tensor(under.image) * (1 - weight) + torch.as_tensor(over.image) * weight
    label = torch.as_tensor(np.where(pasted, value, np.asarray(under.label)[0]))[None]
    meta = getattr(under.image, "meta", None)
    image = image.as_tensor() if isinstance(image, MetaTensor) else image
    return TestCase(f"{under.name}+{over.name}", MetaTensor(image, meta=meta), label.float())
