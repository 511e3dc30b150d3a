"""Pictures of an image with the prediction filled and outlined and the reference dashed."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .atomic import atomic_path
from .evaluation import as_array, split_labels

# Okabe and Ito, "Color Universal Design" (2008): told apart with every kind of colour blindness.
PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")

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
_LONG_SIDE_PX = 512
_MIN_TILE_PX = 192
_FILL = 0.3  # opacity of the prediction's area
_LINE_PX = 2
_DASH_PX = 5
_FONT_PX = 14
# A volume is shown along its through-plane axis when its voxels are this much longer there.
_ANISOTROPY = 1.5


@dataclass(frozen=True)
class _Plane:
    """One slice in screen order: rows downwards, columns to the right.

    Attributes:
        picture: (rows, columns, 3) uint8.
        pred: (K, rows, columns) bool.
        label: like ``pred``, or None.
        mark: letter of the patient side at the left edge, empty for photographs.
        title: text for the corner.
    """

    picture: np.ndarray
    pred: np.ndarray
    label: np.ndarray | None
    mark: str
    title: str


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
    image, pred = as_array(image), as_array(pred)
    rank = image.ndim - 1
    axes = tuple(axes) if axes else {2: PICTURE_AXES, 3: VOLUME_AXES}.get(rank, ())
    spacing = tuple(spacing) if spacing else (1.0,) * rank
    families = {_FAMILY.get(axis) for axis in axes}
    if (
        rank not in (2, 3)
        or None in families
        or not len(axes) == len(spacing) == len(families) == rank
    ):
        raise ValueError(
            f"Expected an image (C, *spatial) with 2 or 3 spatial axes and a direction and spacing "
            f"for each, got shape {image.shape}, axes {axes}, spacing {spacing}. Give all of them."
        )
    masks = [split_labels(pred, len(keywords), rank, "prediction")]
    if label is not None:
        masks.append(split_labels(as_array(label), len(keywords), rank, "reference"))
    if any(mask.shape[1:] != image.shape[1:] for mask in masks):
        raise ValueError(
            f"Expected masks of the image's size {image.shape[1:]}, got "
            f"{[mask.shape[1:] for mask in masks]}. Bring them to the image grid first."
        )
    planes, step = screen_planes(to_rgb(image), masks, axes, spacing, max(1, max_slices))
    return _with_legend(_montage(planes, step), keywords, label is not None)


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
) -> tuple[list[_Plane], tuple[float, float]]:
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
            _Plane(
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


def _montage(planes: list[_Plane], step: tuple[float, float]) -> Image.Image:
    """Draw the planes side by side on black."""
    columns = math.ceil(math.sqrt(len(planes)))
    rows = math.ceil(len(planes) / columns)
    height, width = (n * mm for n, mm in zip(planes[0].picture.shape, step, strict=False))
    long_side = max(_MIN_TILE_PX, _LONG_SIDE_PX // columns)
    scale = long_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = Image.new("RGB", (columns * (size[0] + 2) - 2, rows * (size[1] + 2) - 2))
    for index, plane in enumerate(planes):
        corner = (index % columns * (size[0] + 2), index // columns * (size[1] + 2))
        sheet.paste(_draw_plane(plane, size), corner)
    return sheet


def _draw_plane(plane: _Plane, size: tuple[int, int]) -> Image.Image:
    """Draw one plane at ``size`` (width, height) with its masks and marks."""
    canvas = np.array(Image.fromarray(plane.picture).resize(size, Image.Resampling.BILINEAR))
    for k, mask in enumerate(plane.pred):
        colour = np.array([int(PALETTE[k % len(PALETTE)][i : i + 2], 16) for i in (1, 3, 5)])
        area = _resized(mask, size)
        canvas[area] = ((1 - _FILL) * canvas[area] + _FILL * colour).astype(np.uint8)
        inner = area & ~ndimage.binary_erosion(area, iterations=_LINE_PX)
        canvas[inner] = colour
    for mask in () if plane.label is None else plane.label:
        area = _resized(mask, size)
        ring = ndimage.binary_dilation(area, iterations=_LINE_PX) & ~area
        is_white = np.add.outer(*(np.arange(n) for n in area.shape)) // _DASH_PX % 2 == 0
        canvas[ring] = np.where(is_white[ring], 255, 0)[:, None]
    picture = Image.fromarray(canvas)
    draw, style = (
        ImageDraw.Draw(picture),
        {"fill": "white", "stroke_width": 1, "stroke_fill": "black"},
    )
    font = ImageFont.load_default(_FONT_PX)
    draw.text((3, 1), plane.title, font=font, **style)
    draw.text((3, size[1] // 2 - _FONT_PX // 2), plane.mark, font=font, **style)
    return picture


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Give a boolean (rows, columns) mask at ``size`` (width, height)."""
    return (
        np.array(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)) > 0
    )


def _with_legend(sheet: Image.Image, keywords: Sequence[str], has_label: bool) -> Image.Image:
    """Add a strip that names the colours."""
    font, line = ImageFont.load_default(_FONT_PX), _FONT_PX + 6
    entries = [(word, PALETTE[k % len(PALETTE)]) for k, word in enumerate(keywords)]
    entries += [("dashed: reference", None)] if has_label else []
    places, x, y = [], 4, 0
    for text, colour in entries:
        width = round(font.getlength(text)) + (line if colour else 4)
        if x > 4 and x + width > sheet.width:
            x, y = 4, y + line
        places.append((x, y, text, colour))
        x += width + 10
    widest = max(x0 + round(font.getlength(text)) + line for x0, _, text, _ in places)
    whole = Image.new("RGB", (max(sheet.width, widest), sheet.height + y + line + 4))
    whole.paste(sheet, ((whole.width - sheet.width) // 2, 0))
    draw = ImageDraw.Draw(whole)
    for x, y, text, colour in places:
        top = sheet.height + 4 + y
        if colour:
            draw.rectangle((x, top + 2, x + _FONT_PX - 2, top + _FONT_PX), fill=colour)
        draw.text((x + (line if colour else 0), top), text, font=font, fill="white")
    return whole
