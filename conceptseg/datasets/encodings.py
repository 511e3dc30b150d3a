"""From the values of mask files to label numbers, as a card's encoding says."""

from __future__ import annotations

import numpy as np
import torch

from ..image_checks import threshold_mask
from .card import Encoding
from .oddities import Oddity

_CHANNELS = ("red", "green", "blue")
_COLOR_THRESHOLD = 127  # of 8-bit channels; JPEG blurs coloured masks at their borders
_SHOWN_VALUES = 8


def encode_mask(
    array: np.ndarray, encoding: Encoding, name: str
) -> tuple[np.ndarray, list[Oddity]]:
    """Turn one mask as read into label numbers.

    Args:
        array: (C, *spatial); one channel, three for colors.
        encoding: of the card.
        name: of the case, for remarks.

    Returns:
        (*spatial) uint8 label numbers, and remarks on values that mean nothing (they count as
        background).

    Raises:
        ValueError: a binary mask that is none.
    """
    if encoding.kind == "colors":
        return _encode_colors(array, encoding, name)
    values = np.asarray(array[0])
    if encoding.kind == "values":
        return _encode_values(values, encoding, name)
    if encoding.above is not None:
        return (values > encoding.above).astype(np.uint8), []
    binary = threshold_mask(torch.as_tensor(values.astype(np.float32)), f"the mask of '{name}'")
    return binary.numpy().astype(np.uint8), []


def _encode_values(
    values: np.ndarray, encoding: Encoding, name: str
) -> tuple[np.ndarray, list[Oddity]]:
    """Map numbers, near ones included."""
    label = np.zeros(values.shape, dtype=np.uint8)
    known = np.abs(values.astype(np.float64)) <= encoding.tolerance
    for value, number in encoding.values.items():
        near = np.abs(values.astype(np.float64) - value) <= encoding.tolerance
        label[near] = number
        known |= near
    if known.all():
        return label, []
    unknown = np.unique(values[~known])
    shown = ", ".join(f"{value:g}" for value in unknown[:_SHOWN_VALUES])
    text = f"{int((~known).sum())} mask elements with unknown values {shown} count as background"
    return label, [Oddity(name, "unknown_values", text)]


def _encode_colors(
    array: np.ndarray, encoding: Encoding, name: str
) -> tuple[np.ndarray, list[Oddity]]:
    """Map the dominant channel."""
    array = np.repeat(array, 3, axis=0) if array.shape[0] == 1 else array[:3]
    strongest = array.argmax(axis=0)
    bright = array.max(axis=0) > _COLOR_THRESHOLD
    label = np.zeros(array.shape[1:], dtype=np.uint8)
    for color, number in encoding.colors.items():
        label[bright & (strongest == _CHANNELS.index(color))] = number
    white = bright & (array.min(axis=0) > _COLOR_THRESHOLD)
    label[white] = 0
    lost = int((bright & (label == 0)).sum())
    if lost > 0.01 * max(1, int(bright.sum())):  # less is the noise of JPEG
        text = f"{lost} mask elements in other colors than {', '.join(encoding.colors)} count as background"
        return label, [Oddity(name, "unknown_values", text)]
    return label, []
