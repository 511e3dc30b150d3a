"""Concepts measured from a mask: exact, unlike what a model says of a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from torch import Tensor

from .orientation import check_axes, is_photo, location_word, plane_axes, third
from .schema import Concepts

SIZE_LIMITS = (0.01, 0.05, 0.15)  # share of the image: tiny, small, medium below; large above
ROUND_BELOW = 1.3  # elongation
OVAL_BELOW = 2.2  # elongation
IRREGULAR_BELOW = 0.82  # compactness; an ellipse has 1, a rectangle 0.95
CONTRAST_LIMIT = 0.5  # standard deviations between object and rim that count as different
PIXEL_VARIANCE = 1 / 12  # of a unit square about its centre
COLOR_PROTOTYPES = {  # sRGB in 0..1
    "red": (0.78, 0.20, 0.18),
    "orange": (0.85, 0.50, 0.25),
    "yellow": (0.87, 0.80, 0.35),
    "green": (0.25, 0.60, 0.30),
    "blue": (0.20, 0.35, 0.75),
    "purple": (0.50, 0.25, 0.60),
    "pink": (0.90, 0.60, 0.60),
    "brown": (0.50, 0.30, 0.20),
    "black": (0.06, 0.06, 0.06),
    "gray": (0.50, 0.50, 0.50),
    "white": (0.94, 0.94, 0.94),
}


@dataclass(frozen=True)
class Measurements:
    """Figures from which the words follow.

    Attributes:
        number: separate objects.
        centroid: of all objects together, relative position in (0, 1) along each axis.
        fraction: share of the image they cover.
        extent_mm: bounding box along each axis in mm; None without spacing.
        area_mm2: of an image, or None.
        volume_ml: of a volume, or None.
        elongation: longest over shortest axis of the largest object's ellipse (ellipsoid: longest
            over the geometric mean of the other two), at least 1.
        compactness: its size over that of the ellipse with the same second moments; 1 for an ellipse.
        contrast: mean inside minus mean in the rim, in standard deviations; grey images, else None.
        mean_color: mean RGB in 0..1; color images, else None.
    """

    number: int
    centroid: tuple[float, ...] | None = None
    fraction: float = 0.0
    extent_mm: tuple[float, ...] | None = None
    area_mm2: float | None = None
    volume_ml: float | None = None
    elongation: float | None = None
    compactness: float | None = None
    contrast: float | None = None
    mean_color: tuple[float, float, float] | None = None


def component_masks(mask: np.ndarray, min_fraction: float = 0.02) -> list[np.ndarray]:
    """Boolean masks of the separate objects, largest first.

    Args:
        mask: (*spatial), True in the objects; touching corners join.
        min_fraction: parts smaller than this share of the largest are left out as specks.
    """
    mask = np.asarray(mask) > 0
    parts, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if count <= 1:
        return [mask] if count else []
    sizes = np.bincount(parts.ravel())[1:]
    order = [i for i in np.argsort(-sizes, kind="stable") if sizes[i] >= min_fraction * sizes.max()]
    return [parts == i + 1 for i in order]


class MeasuredConcepts:
    """Measures the concepts of a mask; a `ConceptSource`.

    Args:
        min_component_fraction: parts smaller than this share of the largest are not counted.
        slice_axis: axis along which volumes are sliced; their location is said in the other two.
    """

    def __init__(self, min_component_fraction: float = 0.02, slice_axis: int = 2) -> None:
        self.min_component_fraction = min_component_fraction
        self.slice_axis = slice_axis

    def __call__(
        self,
        image: np.ndarray | None,
        mask: np.ndarray,
        keyword: str,
        axes: Sequence[str],
        spacing: Sequence[float] | None = None,
    ) -> Concepts:
        """Describe the objects of one class; see `ConceptSource`. Without an image, no intensity."""
        axes = check_axes(axes, np.ndim(mask))
        found = self.measure(image, mask, spacing)
        if not found.number:
            return Concepts(keyword=keyword, number=0)
        plane = plane_axes(axes, self.slice_axis)
        in_plane = [found.centroid[axes.index(word)] for word in plane]
        volume = len(axes) == 3
        along = dict(zip(axes, found.centroid, strict=True))
        return Concepts(
            keyword=keyword,
            number=found.number,
            location=location_word(in_plane, plane),
            shape=shape_word(found.elongation, found.compactness),
            size=size_word(found.fraction),
            color=None if found.mean_color is None else color_word(found.mean_color),
            intensity=None if found.contrast is None else intensity_word(found.contrast),
            level=_level(along) if volume and not is_photo(axes) else None,
            laterality=_laterality(along) if volume and not is_photo(axes) else None,
        )

    def measure(
        self,
        image: np.ndarray | None,
        mask: np.ndarray,
        spacing: Sequence[float] | None = None,
    ) -> Measurements:
        """Measure.

        Args:
            image: (C, *spatial), C 1 (grey, any scale) or 3 (RGB in 0..1 or 0..255), or None.
            mask: (*spatial), 2 or 3 axes, non-zero in the objects.
            spacing: mm per pixel along each axis.

        Raises:
            ValueError: shapes that do not fit.
        """
        mask = np.asarray(mask) > 0
        _check_shapes(image, mask, spacing)
        parts = component_masks(mask, self.min_component_fraction)
        if not parts:
            return Measurements(number=0)
        points = np.argwhere(mask)
        steps = np.ones(mask.ndim) if spacing is None else np.asarray(spacing, dtype=float)
        extent, size = None, None
        if spacing is not None:
            extent = tuple(float(x) for x in (np.ptp(points, axis=0) + 1) * steps)
            size = float(len(points) * steps.prod())
        elongation, compactness = _ellipse(np.argwhere(parts[0]), steps)
        contrast, color = _intensities(image, mask)
        return Measurements(
            number=len(parts),
            centroid=tuple(float(x) for x in (points.mean(axis=0) + 0.5) / mask.shape),
            fraction=len(points) / mask.size,
            extent_mm=extent,
            area_mm2=size if mask.ndim == 2 else None,
            volume_ml=None if size is None or mask.ndim == 2 else size / 1000,
            elongation=elongation,
            compactness=compactness,
            contrast=contrast,
            mean_color=color,
        )


def is_color(image: np.ndarray | Tensor) -> bool:
    """Whether an image (C, *spatial) has three channels that differ; a grey one read as RGB has not."""
    return image.shape[0] == 3 and bool((image != image[:1]).any())


def size_word(fraction: float) -> str:
    """Size of objects that cover this share of the image."""
    words = ("tiny", "small", "medium", "large")
    return words[sum(fraction >= limit for limit in SIZE_LIMITS)]


def shape_word(elongation: float, compactness: float) -> str:
    """Shape of an object; see `Measurements`."""
    if compactness < IRREGULAR_BELOW:
        return "irregular"
    if elongation < ROUND_BELOW:
        return "round"
    return "oval" if elongation < OVAL_BELOW else "elongated"


def intensity_word(contrast: float) -> str:
    """Grey level against the rim; see `Measurements`."""
    if abs(contrast) < CONTRAST_LIMIT:
        return "isointense"
    return "bright" if contrast > 0 else "dark"


def color_word(mean_color: Sequence[float]) -> str:
    """Nearest named color of an RGB value in 0..1."""
    return min(COLOR_PROTOTYPES, key=lambda name: math.dist(COLOR_PROTOTYPES[name], mean_color))


def _check_shapes(image, mask, spacing) -> None:
    """Raise ValueError unless image, mask and spacing fit each other."""
    if mask.ndim not in (2, 3):
        raise ValueError(f"expected a mask with 2 or 3 axes, got shape {mask.shape}")
    if image is not None:
        shape = np.shape(image)
        if shape[1:] != mask.shape or shape[0] not in (1, 3):
            raise ValueError(
                f"expected an image (1 or 3, {', '.join(map(str, mask.shape))}) for this mask, got"
                f" {shape}; give the image the mask was drawn on, channels first"
            )
    if spacing is not None and (len(spacing) != mask.ndim or min(spacing) <= 0):
        raise ValueError(
            f"expected {mask.ndim} positive spacings in mm, got {tuple(spacing)}; or None"
        )


def _ellipse(points: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Elongation and compactness of the pixels `points` (N, D), by their second moments."""
    scaled = points * steps
    centred = scaled - scaled.mean(axis=0)
    moments = centred.T @ centred / len(points) + np.diag(PIXEL_VARIANCE * steps**2)
    values = np.sort(np.linalg.eigvalsh(moments))
    size = len(points) * steps.prod()
    if len(values) == 2:  # ellipse with half axes a, b: moments a^2/4, b^2/4
        full = 4 * math.pi * math.sqrt(values.prod())
    else:  # ellipsoid: moments a^2/5 ...
        full = 4 / 3 * math.pi * 5**1.5 * math.sqrt(values.prod())
    shorter = math.sqrt(math.prod(values[:-1]) ** (1 / (len(values) - 1)))
    return math.sqrt(values[-1]) / shorter, size / full


def _intensities(
    image: np.ndarray | None, mask: np.ndarray
) -> tuple[float | None, tuple[float, float, float] | None]:
    """Contrast of a grey image, or mean color of an RGB one."""
    if image is None:
        return None, None
    image = np.asarray(image)
    if image.shape[0] == 3:
        mean = image[:, mask].mean(axis=1, dtype=np.float64)
        scale = 255.0 if image.dtype == np.uint8 or float(image.max()) > 1.5 else 1.0
        return None, tuple(float(x) for x in mean / scale)
    width = max(2, round(0.25 * mask.sum() ** (1 / mask.ndim)))
    around = tuple(
        slice(max(0, int(hit.min()) - width), int(hit.max()) + width + 1)
        for hit in np.nonzero(mask)
    )
    inner, grey = mask[around], image[0][around].astype(np.float64)
    rim = ndimage.binary_dilation(inner, iterations=width) & ~inner
    if not rim.any():
        return None, None
    deviation = grey[rim | inner].std()
    difference = grey[inner].mean() - grey[rim].mean()
    return (float(difference / deviation) if deviation > 0 else 0.0), None


def _level(along: dict[str, float]) -> str:
    """Third along the inferior-superior axis."""
    place = along["superior"] if "superior" in along else 1 - along["inferior"]
    return ("inferior", "middle", "superior")[third(place) + 1]


def _laterality(along: dict[str, float]) -> str:
    """Half of the image along the patient's left-right axis."""
    place = along["right"] if "right" in along else 1 - along["left"]
    return "right" if place >= 0.5 else "left"
