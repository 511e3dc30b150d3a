"""The pictures shown to a multimodal model: pixels alone, no name, no metadata."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from ..overlay import screen_planes, to_rgb
from .questions import OUTLINE, VIEWS

ENLARGED_SIDE = (
    224  # pixels to which a smaller crop is enlarged; input size of common image encoders
)


def view_picture(
    image: np.ndarray,
    mask: np.ndarray,
    axes: Sequence[str],
    view: str,
    spacing: Sequence[float] | None = None,
    margin: float = 0.25,
    long_side: int = 512,
) -> Image.Image:
    """Draw one view of a region, as it is seen on a screen; of a volume, the slice that holds most of it.

    Args:
        image: (C, *spatial), C 1 or 3, 2 or 3 spatial axes.
        mask: (*spatial) bool, not empty.
        axes: direction in which the index of each spatial axis grows.
        view: "crop" (bounding box and margin), "outline" (all, the region outlined) or "roi" (all but
            the region black; the paper's ROI image).
        spacing: mm along each axis; None: equal.
        margin: of the crop on each side, share of the bounding box's longer side.
        long_side: pixels of the picture's longer side at most.

    Returns:
        An RGB picture.

    Raises:
        ValueError: an unknown view, or an empty mask.
    """
    if view not in VIEWS:
        raise ValueError(f"expected a view of {list(VIEWS)}, got {view!r}; correct the config")
    mask = np.asarray(mask) > 0
    if not mask.any():
        raise ValueError(
            "expected a mask with a region to show, got an empty one; skip such labels"
        )
    steps = tuple(spacing) if spacing else (1.0,) * mask.ndim
    planes, step = screen_planes(to_rgb(np.asarray(image)), [mask[None]], tuple(axes), steps, 1)
    picture, region = np.array(planes[0].picture), planes[0].pred[0]
    if view == "roi":
        picture[~region] = 0
    elif view == "crop":
        box = _box(region, margin)
        picture, region = picture[box], region[box]
    rows, columns = (n * mm for n, mm in zip(picture.shape, step, strict=False))
    side, natural = max(rows, columns), 1 / min(step)
    if view == "crop":
        natural = max(natural, ENLARGED_SIDE / side)
    scale = min(long_side / side, natural)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    drawn = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    if view == "outline":
        drawn = _outlined(drawn, region)
    return drawn


def _box(region: np.ndarray, margin: float) -> tuple[slice, slice]:
    """Bounding box of the region with a margin, inside the picture."""
    bounds = [(int(hit.min()), int(hit.max()) + 1) for hit in np.nonzero(region)]
    width = max(2, round(margin * max(high - low for low, high in bounds)))
    return tuple(
        slice(max(0, low - width), min(size, high + width))
        for (low, high), size in zip(bounds, region.shape, strict=True)
    )


def _outlined(picture: Image.Image, region: np.ndarray) -> Image.Image:
    """The picture with a line just outside of the region, so that nothing of it is covered."""
    scaled = Image.fromarray(region.astype(np.uint8)).resize(picture.size, Image.Resampling.NEAREST)
    area = np.asarray(scaled) > 0
    canvas = np.array(picture)
    canvas[ndimage.binary_dilation(area, iterations=2) & ~area] = OUTLINE[1]
    return Image.fromarray(canvas)
