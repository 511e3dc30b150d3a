"""Pictures beyond 8 bit, brought to the 0..255 that the bundles of pictures expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

HIGHEST = 255.0
WINDOW_TAGS = ("WindowCenter", "WindowWidth", "PhotometricInterpretation")
_PERCENTILES = (0.5, 99.5)  # a few hot pixels or burnt-in letters decide nothing


def within_byte_range(array: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
    """Scale an image to 0..255 unless its values lie there already, or some are not finite.

    Floats of 0..1 do not lie there already: they are taken for shares of the full brightness.

    Args:
        array: (C, *spatial).
        window: (lowest, highest) value that is told apart; None, or one that shows none of the
            values: between their 0.5 and 99.5 percentiles.

    Returns:
        `array` itself, or float32 without quantisation.
    """
    least, most = float(array.min()), float(array.max())
    if not np.isfinite((least, most)).all():
        return array
    if array.dtype.kind == "f" and least >= 0 and 0 < most <= 1:
        return array.astype(np.float32) * HIGHEST
    if least >= 0 and most <= HIGHEST:
        return array
    if window is None or window[0] >= most or window[1] <= least:
        window = tuple(np.percentile(array, _PERCENTILES))
    low, high = window if window[0] < window[1] else (least, most)
    scaled = (array.astype(np.float32) - low) / max(high - low, 1e-6)
    return np.clip(scaled, 0, 1) * HIGHEST


def bit_depth_window(array: np.ndarray) -> tuple[float, float]:
    """Give the range 0..2^b - 1 of an image's b bits, as many as its largest value needs.

    A file for 16-bit integers holds 10 to 14 bits where it is the export of a radiograph, and does not
    say so.

    Args:
        array: unsigned integers.
    """
    return 0.0, float(2 ** int(array.max(initial=0)).bit_length() - 1)


def dicom_window(header: Any) -> tuple[float, float] | None:
    """Give the lowest and highest value of a DICOM header's first window, None without one.

    DICOM PS3.3, C.11.2.1.2.1. There is none for MONOCHROME1 either: its values are inverted on reading.
    """
    centre, width = (_first(header.get(name)) for name in WINDOW_TAGS[:2])
    if centre is None or width is None or width <= 1:
        return None
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _first(value: Any) -> float | None:
    """Give the first number of a tag that may hold several or none."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return None if value in (None, "") else float(value)
