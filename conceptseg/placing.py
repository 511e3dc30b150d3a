"""What of an image's mask lies in the place that a prompt names, and what is drawn there when nothing does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit, logit
from torch import Tensor

from .parts import SPECK, connected_parts, hold_an_object, only_parts, part_sizes

_WORDS = {"top", "bottom", "left", "right", "center"}
# In cells of the 3 x 3 grid:
_TIE = 1e-9
_NEAR = 0.2  # nobody draws the borders of the cells when naming a place
_BESIDE = 1.0
_FALL = 10.0  # log odds that what is drawn loses a cell beyond its place, as the distance squared
# Of probabilities:
_LEAST = 0.02  # a lower peak is nothing
_CONTRAST = 2.0  # so many times the cell's median, or the peak is none
_RISE = 0.2  # the outline's height between median and peak
_SURE = 1e-6  # no probability is closer to 0 and 1


def keep_at(place: str, probability: Tensor) -> Tensor:
    """Probability (W, H) of what lies in a place of the image, such as "bottom left"; the rest is zero.

    The connected parts of the mask whose centre lies in that cell of the 3 x 3 grid, or hardly outside it. Where
    there is none, somebody who names the place still sees something there: the region around the
    highest probability in the cell is raised above 0.5, the less the farther it lies beyond the cell. Where
    nothing stands out, the parts in the cells beside it are kept.
    """
    cell = _cell(place)
    if cell is None:
        return probability.clone()
    parts, away = _parts(cell, probability)
    for limit in (_TIE, _NEAR):
        if hold_an_object(parts, away <= limit):
            return only_parts(probability, parts, away <= limit)
    values = probability.detach().cpu().double().numpy()
    raised = _raised(cell, values, SPECK * part_sizes(parts).max(initial=0))
    if raised is not None:
        return torch.as_tensor(raised).to(probability)
    return only_parts(probability, parts, away <= _BESIDE)


def is_beside(place: str, probability: Tensor) -> bool:
    """Whether a mask (W, H) is drawn, but no part of it lies in the place, see `keep_at`."""
    cell = _cell(place)
    if cell is None:
        return False
    _, away = _parts(cell, probability)
    return bool(len(away) > 1 and away[1:].min() > _NEAR)


def is_centred_beside(place: str, probability: Tensor) -> bool:
    """Whether a mask (W, H) is drawn, but its parts taken together do not have their centre in the place."""
    cell = _cell(place)
    drawn = probability.detach().cpu().numpy() > 0.5
    if cell is None or not drawn.any():
        return False
    centre = (np.array(ndimage.center_of_mass(drawn)) + 0.5) / drawn.shape
    return bool(_cells_beyond(cell, centre).max() > _NEAR)


def _cell(place: str) -> tuple[int, int] | None:
    """Column and row of a place's cell, -1 to 1; None for a place that is none of an image."""
    words = set(place.split())
    if not words <= _WORDS:
        return None
    return ("right" in words) - ("left" in words), ("bottom" in words) - ("top" in words)


def _parts(cell: tuple[int, int], probability: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The mask's numbered parts and how far away they are (N + 1,), 0 for the background, which stays."""
    parts, centres = connected_parts(probability)
    return parts, np.concatenate([[0], _cells_beyond(cell, centres.T).max(axis=0)])


def _raised(cell: tuple[int, int], values: np.ndarray, least: float) -> np.ndarray | None:
    """Probabilities moved so that the likeliest region of the cell is above 0.5.

    None if none stands out, or it has fewer pixels than `least`.
    """
    pixels = np.indices(values.shape)
    beyond = _cells_beyond(cell, [(i + 0.5) / n for i, n in zip(pixels, values.shape, strict=True)])
    inside = beyond.max(axis=0) <= _TIE
    there = values[inside]
    peak, usual = (float(there.max()), float(np.median(there))) if there.size else (0.0, 0.0)
    if peak > 0.5:
        usual = 0.0
    if peak < _LEAST or peak <= _CONTRAST * usual:
        return None
    height = min(0.5, usual + _RISE * (peak - usual))
    odds = logit(np.clip(values, _SURE, 1 - _SURE)) - logit(height)
    odds -= _FALL * (beyond**2).sum(axis=0)
    parts, _ = ndimage.label(odds > 0)
    peaks = np.flatnonzero((values == peak) & inside)
    kept = parts == parts.flat[peaks[0]]
    return np.where(kept | (parts == 0), expit(odds), 0) if kept.sum() >= least else None


def _cells_beyond(cell: tuple[int, int], positions: Sequence[np.ndarray]) -> np.ndarray:
    """How far positions in [0, 1], an array per axis, lie outside a cell, in cells along each axis (2, ...)."""
    beyond = [np.abs(p * 3 - 1.5 - c) - 0.5 for p, c in zip(positions, cell, strict=True)]
    return np.maximum(beyond, 0)
