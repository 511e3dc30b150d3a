"""Drawing slices with their masks: filled and outlined predictions, dashed references, a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

# Okabe and Ito, "Color Universal Design" (2008): told apart with every kind of colour blindness.
PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")

_LONG_SIDE_PX = 512
_MIN_TILE_PX = 192
_FILL = 0.3  # opacity of the prediction's area
_LINE_PX = 2
_DASH_PX = 5
_FONT_PX = 14


@dataclass(frozen=True)
class Plane:
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


def draw_planes(
    planes: list[Plane], step: tuple[float, float], keywords: Sequence[str]
) -> Image.Image:
    """Draw slices of `step` mm per row and column as a montage with the keywords below."""
    return _with_legend(_montage(planes, step), keywords, planes[0].label is not None)


def _montage(planes: list[Plane], step: tuple[float, float]) -> Image.Image:
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


def _draw_plane(plane: Plane, size: tuple[int, int]) -> Image.Image:
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
