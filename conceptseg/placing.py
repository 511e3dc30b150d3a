"""What of an image's mask lies in the place that a prompt names, and what is drawn there when nothing does."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_WORDS = {"top", "bottom", "left", "right", "center"}
SPECK = 0.1  # of the largest part: smaller ones do not decide where the object lies
# In cells of the 3 x 3 grid:
_TIE = 1e-9
_NEAR = 0.2  # nobody draws the borders of the cells when naming a place
_REACH = 0.5  # what is drawn in a place may reach so far beyond it
_BESIDE = 1.0
# Of probabilities:
_LEAST = 0.02  # a lower peak is nothing
_CONTRAST = 2.0  # so many times the cell's median, or the peak is none
_RISE = 0.2  # the outline's height between median and peak


def keep_at(place: str, probability: Tensor) -> Tensor:
    """Probability (W, H) of what lies in a place of the image, such as "bottom left"; the rest is zero.

    The connected parts of the mask whose centre lies in that cell of the 3 x 3 grid, or hardly outside it. Where
    there is none, somebody who names the place still sees something there: the region around the
    highest probability in the cell is raised above 0.5, as far as half a cell beyond. Where nothing stands out,
    the parts in the cells beside it are kept.
    """
    if not set(place.split()) <= _WORDS:
        return probability.clone()
    values = probability.detach().cpu().double().numpy()
    parts, sizes, away = _parts(place, values)
    for limit in (_TIE, _NEAR):
        chosen = away <= limit
        if sizes[chosen].max(initial=0) >= SPECK * sizes.max(initial=1):
            return _only(probability, parts, chosen)
    raised = _raised(place, values, SPECK * sizes.max(initial=0))
    if raised is not None:
        return torch.as_tensor(raised).to(probability)
    return _only(probability, parts, away <= _BESIDE)


def is_beside(place: str, probability: Tensor) -> bool:
    """Whether a mask (W, H) is drawn, but no part of it lies in the place, see `keep_at`."""
    if not set(place.split()) <= _WORDS:
        return False
    _, sizes, away = _parts(place, probability.detach().cpu().double().numpy())
    return bool(len(sizes) and away.min() > _NEAR)


def _parts(place: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mask's connected parts, numbered from 1, their pixels (N,) and distances from the place in cells."""
    parts, count = ndimage.label(values > 0.5)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    centres = ndimage.center_of_mass(parts > 0, parts, np.arange(count) + 1)
    return parts, sizes, _cells_away(place, np.reshape(centres, (count, 2)).T, values.shape)


def _only(probability: Tensor, parts: np.ndarray, chosen: np.ndarray) -> Tensor:
    """Without the parts that are not chosen (N,); the background, below 0.5, stays."""
    return probability * torch.as_tensor(np.concatenate([[True], chosen])[parts]).to(probability)


def _raised(place: str, values: np.ndarray, least: float) -> np.ndarray | None:
    """Probabilities moved so that the likeliest region of the place is above 0.5.

    None if none stands out, or it has fewer pixels than `least`.
    """
    distance = _cells_away(place, np.indices(values.shape), values.shape)
    cell = values[distance <= _TIE]
    peak, usual = (float(cell.max()), float(np.median(cell))) if cell.size else (0.0, 0.0)
    if peak > 0.5:
        usual = 0.0
    if peak < _LEAST or peak <= _CONTRAST * usual:
        return None
    height = min(0.5, usual + _RISE * (peak - usual))
    # the same odds, divided by those of the height
    odds = values * (1 - height)
    moved = odds / (odds + (1 - values) * height)
    parts, _ = ndimage.label(values > height)
    peaks = np.flatnonzero((values == peak) & (distance <= _TIE))
    kept = (parts == parts.flat[peaks[0]]) & (distance <= _REACH)
    return np.where(kept | (parts == 0), moved, 0) if kept.sum() >= least else None


def _cells_away(place: str, index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """How far pixels of index (2, ...) lie outside a place's cell, in cells along the farther axis."""
    words = set(place.split())
    wanted = [("right" in words) - ("left" in words), ("bottom" in words) - ("top" in words)]
    axes = zip(index, shape, wanted, strict=True)
    beyond = [np.abs((i + 0.5) / n * 3 - 1.5 - cell) - 0.5 for i, n, cell in axes]
    return np.maximum(np.maximum(*beyond), 0)
