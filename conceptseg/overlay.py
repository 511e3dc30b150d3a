"""Pictures of an image with the prediction filled and outlined and the reference dashed."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .atomic import atomic_path
from .evaluation import as_array, split_labels
from .overlay_drawing import PALETTE, Plane, draw_planes

__all__ = [
    "PALETTE",
    "Overlay",
    "cut_overlays",
    "overlay_image",
    "overlay_png",
    "png_bytes",
    "screen_planes",
    "to_rgb",
]

PICTURE_AXES = ("right", "bottom")
VOLUME_AXES = ("right", "anterior", "superior")

_FAMILY = {"right": "x", "left": "x", "anterior": "y", "posterior": "y", "superior": "z"} | {
    "inferior": "z",
    "top": "v",
    "bottom": "v",
}
# Directions of columns and rows on the screen. Patient axes as radiologists see them: the
# patient's right side on the left, anterior or superior up.
_SCREEN = {
    frozenset("xv"): ("right", "bottom"),
    frozenset("xy"): ("left", "posterior"),
    frozenset("xz"): ("left", "inferior"),
    frozenset("yz"): ("posterior", "inferior"),
}
# Letter at the left edge by the direction of the columns; none for photographs.
_LEFT_MARK = {"left": "R", "posterior": "A"}
# A volume is shown along its through-plane axis when its voxels are this much longer there.
_ANISOTROPY = 1.5


@dataclass(frozen=True)
class Overlay:
    """The slices that an overlay shows, with their masks: all that drawing needs of a volume.

    Attributes:
        planes: the slices.
        step: mm per row and column.
        keywords: K label names, for the legend.
    """

    planes: list[Plane]
    step: tuple[float, float]
    keywords: tuple[str, ...]

    def draw(self) -> Image.Image:
        """Give the RGB picture."""
        return draw_planes(self.planes, self.step, self.keywords)


def overlay_image(
    image: np.ndarray | torch.Tensor,
    pred: np.ndarray | torch.Tensor,
    label: np.ndarray | torch.Tensor | None = None,
    keywords: Sequence[str] = ("object",),
    axes: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    max_slices: int = 9,
) -> Image.Image:
    """Draw the prediction over the image, as a montage of slices for volumes.

    Predictions are filled lightly and outlined inside their border, references dashed just
    outside of theirs, so both stay visible where they agree.

    Args:
        image: (C, *spatial), grey or RGB. RGB values in 0..1 or 0..255 are shown as they are,
            everything else is stretched between its 0.5 and 99.5 percentiles.
        pred: (K, *spatial) masks or (*spatial) or (1, *spatial) integer map.
        label: reference in one of the same forms, or None.
        keywords: K label names, for the legend.
        axes: direction in which each spatial index grows; default ("right", "bottom") in two
            dimensions (as MONAI loads pictures), ("right", "anterior", "superior") in three.
        spacing: mm along each axis; default: equal.
        max_slices: slices shown of a volume; 1 shows the one with the largest reference (or, with
            none, predicted) area.

    Returns:
        An RGB picture.

    Raises:
        ValueError: shapes or axes that do not fit each other.
    """
    overlays = cut_overlays(image, {"": pred}, label, keywords, axes, spacing, max_slices)
    return overlays[""].draw()


def cut_overlays(
    image: np.ndarray | torch.Tensor,
    preds: Mapping[str, np.ndarray | torch.Tensor],
    label: np.ndarray | torch.Tensor | None = None,
    keywords: Sequence[str] = ("object",),
    axes: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    max_slices: int = 9,
) -> dict[str, Overlay]:
    """Cut out of several predictions for one image what ``overlay_image`` (see there) draws.

    Args:
        preds: name -> prediction.

    Returns:
        Name -> what is drawn later; a small part of a volume.

    Raises:
        ValueError: shapes or axes that do not fit each other.
    """
    image = as_array(image)
    rank = image.ndim - 1
    axes = tuple(axes) if axes else {2: PICTURE_AXES, 3: VOLUME_AXES}.get(rank, ())
    spacing = tuple(spacing) if spacing else (1.0,) * rank
    _check_axes(image.shape, axes, spacing)
    keywords = tuple(keywords)
    references = []
    if label is not None:
        references = [split_labels(as_array(label), len(keywords), rank, "reference")]
    overlays, picture = {}, to_rgb(image)
    for name, pred in preds.items():
        masks = [split_labels(as_array(pred), len(keywords), rank, "prediction"), *references]
        if any(mask.shape[1:] != image.shape[1:] for mask in masks):
            raise ValueError(
                f"Expected masks of the image's size {image.shape[1:]}, got "
                f"{[mask.shape[1:] for mask in masks]}. Bring them to the image grid first."
            )
        planes, step = screen_planes(picture, masks, axes, spacing, max(1, max_slices))
        overlays[name] = Overlay(planes, step, keywords)
    return overlays


def _check_axes(shape: tuple[int, ...], axes: tuple[str, ...], spacing: tuple[float, ...]) -> None:
    """Refuse a shape (C, *spatial) that directions and spacing do not fit."""
    rank = len(shape) - 1
    families = {_FAMILY.get(axis) for axis in axes}
    if (
        rank not in (2, 3)
        or None in families
        or not len(axes) == len(spacing) == len(families) == rank
    ):
        raise ValueError(
            f"Expected an image (C, *spatial) with 2 or 3 spatial axes and a direction and spacing "
            f"for each, got shape {shape}, axes {axes}, spacing {spacing}. Give all of them."
        )


def overlay_png(
    image: np.ndarray | torch.Tensor,
    pred: np.ndarray | torch.Tensor,
    path: str | os.PathLike,
    label: np.ndarray | torch.Tensor | None = None,
    keywords: Sequence[str] = ("object",),
    axes: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    max_slices: int = 9,
) -> None:
    """Write ``overlay_image`` (see there) to a PNG file; the file is complete or absent."""
    picture = overlay_image(image, pred, label, keywords, axes, spacing, max_slices)
    with atomic_path(path, ".png") as temporary:
        picture.save(temporary)


def png_bytes(picture: Image.Image) -> bytes:
    """Give a picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Give (C, *spatial) as (*spatial, 3) uint8."""
    values = np.nan_to_num(image.astype(np.float32))
    values = np.moveaxis(values if image.shape[0] == 3 else values[:1], 0, -1)
    low, high = float(values.min()), float(values.max())
    if values.shape[-1] == 3 and low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    else:
        low, high = np.percentile(values, (0.5, 99.5))
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.broadcast_to(scaled.astype(np.uint8), (*values.shape[:-1], 3))


def screen_planes(
    picture: np.ndarray,
    masks: list[np.ndarray],
    axes: tuple[str, ...],
    spacing: tuple[float, ...],
    max_slices: int,
) -> tuple[list[Plane], tuple[float, float]]:
    """Cut (*spatial, 3) and its (K, *spatial) masks into slices; also mm per row and column."""
    if len(axes) == 2:
        cut, indices, rest = None, [None], [0, 1]
    else:
        cut = _slice_axis(axes, spacing)
        rest = [axis for axis in range(3) if axis != cut]
        shown = masks[-1] if masks[-1].any() else masks[0]
        indices = _slice_indices(shown, cut, max_slices)
    targets = _SCREEN.get(frozenset(_FAMILY[axes[axis]] for axis in rest))
    if targets is None:
        raise ValueError(
            f"Expected directions that span a picture or body, got {axes}. Use {PICTURE_AXES} or "
            f"{VOLUME_AXES[:2]}."
        )
    column = next(a for a in rest if _FAMILY[axes[a]] == _FAMILY[targets[0]])
    row = next(a for a in rest if a != column)

    steps = (1 if axes[row] == targets[1] else -1, 1 if axes[column] == targets[0] else -1)

    def turned(array: np.ndarray, index: int | None) -> np.ndarray:
        array = array if index is None else np.take(array, index, axis=cut)
        array = np.swapaxes(array, 0, 1) if row > column else array
        return array[:: steps[0], :: steps[1]]

    planes = []
    for index in indices:
        cut_masks = [np.stack([turned(one, index) for one in mask]) for mask in masks]
        planes.append(
            Plane(
                turned(picture, index),
                cut_masks[0],
                cut_masks[1] if len(masks) > 1 else None,
                _LEFT_MARK.get(targets[0], ""),
                "" if index is None else f"slice {index + 1}",
            )
        )
    return planes, (spacing[row], spacing[column])


def _slice_axis(axes: tuple[str, ...], spacing: tuple[float, ...]) -> int:
    """Give the axis to cut along: the clearly longest voxel side, else superior-inferior."""
    longest = int(np.argmax(spacing))
    if spacing[longest] >= _ANISOTROPY * sorted(spacing)[1]:
        return longest
    return next((i for i, axis in enumerate(axes) if _FAMILY[axis] == "z"), 2)


def _slice_indices(masks: np.ndarray, cut: int, max_slices: int) -> list[int]:
    """Give the slices to show: the largest, or some spread over the extent of the masks."""
    area = masks.any(axis=0).sum(axis=tuple(axis for axis in range(3) if axis != cut))
    if max_slices == 1:
        return [int(np.argmax(area)) if area.any() else len(area) // 2]
    used = np.flatnonzero(area) if area.any() else np.arange(len(area))
    count = min(max_slices, int(used[-1] - used[0]) + 1)
    return sorted({round(i) for i in np.linspace(used[0], used[-1], count)})
