"""Points and boxes: from what the clients send to regions of the network's grid, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .bundle import Bundle
from .options import read_label_prompt
from .problems import bad_request

# A click counts for the part of the mask that holds it at the first of these probabilities.
THRESHOLDS = (0.5, 0.3, 0.15, 0.05)
MIN_BALL = 2  # voxels; radius drawn around a click where the model sees nothing
BALL_SHARE = 0.02  # of the shortest side; the same for large images


@dataclass(frozen=True)
class Clicks:
    """Points in voxels of the file's grid.

    Attributes:
        foreground: label name -> (n, D) points; the name None stands for "whichever is there".
        background: (n, D) points.
    """

    foreground: dict[str | None, np.ndarray]
    background: np.ndarray


def read_clicks(request: Mapping[str, Any], bundle: Bundle) -> Clicks:
    """Points as deepedit ({label: points}), deepgrow (foreground, background) or vista3d clients send them.

    Raises:
        HTTPException: 400 for what is no list of points.
    """
    dimension = bundle.dimension
    foreground: dict[str | None, list] = {}
    for name in bundle.keywords:
        foreground[name] = _points(name, request.get(name), dimension)
    background = _points("background", request.get("background"), dimension)
    chosen = request.get("label")
    chosen = chosen if chosen in bundle.keywords else None
    foreground[chosen] = foreground.get(chosen, []) + _points(
        "foreground", request.get("foreground"), dimension
    )
    points = _points("points", request.get("points"), dimension)
    signs = request.get("point_labels") or [1] * len(points)
    if len(signs) != len(points):
        raise bad_request(
            f"Expected one point label per point, got {len(signs)} for {len(points)} points; send"
            " 1 for inside and 0 for outside."
        )
    classes = read_label_prompt(request.get("label_prompt"), bundle)
    target = classes[0] if classes else chosen
    inside = [p for p, sign in zip(points, signs, strict=True) if sign]
    background += [p for p, sign in zip(points, signs, strict=True) if not sign]
    foreground[target] = foreground.get(target, []) + inside
    return Clicks(
        {k: _array(v, dimension) for k, v in foreground.items() if v}, _array(background, dimension)
    )


def _array(points: list, dimension: int) -> np.ndarray:
    """Points as (n, D), also when there are none."""
    return np.asarray(points, dtype=np.float64).reshape(-1, dimension)


def _points(name: str, value: Any, dimension: int) -> list[list[float]]:
    """A list of points from a list or its JSON text; the third number of a photograph's is dropped."""
    if value in (None, "", []):
        return []
    try:
        value = json.loads(value) if isinstance(value, str) else value
        value = [value] if value and not isinstance(value[0], (list, tuple)) else value
        points = [[float(x) for x in point] for point in value]
        good = all(len(p) in ((2, 3) if dimension == 2 else (3,)) for p in points)
        good = good and bool(np.isfinite([x for p in points for x in p]).all())
    except (TypeError, ValueError, IndexError, KeyError):
        good = False
    if not good:
        raise bad_request(
            f"Expected '{name}' as a list of points with {dimension} voxel numbers each, got"
            f" {str(value)[:80]!r}; click again."
        )
    return [p[:dimension] for p in points]


def check_inside(clicks: Clicks, shape: Sequence[int]) -> None:
    """Refuse points outside an image of `shape` voxels with error 400."""
    for points in (*clicks.foreground.values(), clicks.background):
        for point in points:
            if (point < -0.5).any() or (point > np.asarray(shape) - 0.5).any():
                raise bad_request(
                    f"Expected points inside the image of {tuple(shape)} voxels, got"
                    f" {[round(float(x), 1) for x in point]}; click inside the image."
                )


def to_network(points: np.ndarray, matrix: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Points (n, D) through the (4, 4) voxel map, as indices inside `shape`."""
    dimension = points.shape[1]
    full = np.zeros((len(points), 4))
    full[:, :dimension], full[:, 3] = points, 1
    moved = np.rint((full @ matrix.T)[:, :dimension]).astype(int)
    return np.clip(moved, 0, np.asarray(shape) - 1)


def box_mask(roi: Sequence[int] | None, matrix: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Boolean (*shape) of a box given in voxels of the file's grid; all True without a box."""
    inside = np.ones(tuple(shape), dtype=bool)
    if roi is None:
        return inside
    dimension = len(shape)
    lows = [min(roi[2 * a : 2 * a + 2]) for a in range(dimension)]
    highs = [max(roi[2 * a : 2 * a + 2]) for a in range(dimension)]
    corners = np.array(np.meshgrid(*zip(lows, highs, strict=True))).reshape(dimension, -1).T
    moved = to_network(corners.astype(float), matrix, shape)
    inside[:] = False
    inside[tuple(slice(a, b + 1) for a, b in zip(moved.min(0), moved.max(0), strict=True))] = True
    return inside


def region_of(
    probability: np.ndarray, points: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, int]:
    """What the clicks (or the box alone) mark.

    Args:
        probability: (*spatial) of one label.
        points: (n, D) indices; may be empty.
        inside: (*spatial) bool, the box.

    Returns:
        (*spatial) float, above 0.5 in the region; and how many clicks fell where the model sees
        nothing, so that a small ball was drawn.
    """
    result = np.zeros(probability.shape, dtype=np.float32)
    if not len(points):
        for threshold in THRESHOLDS:
            found = (probability > threshold) & inside
            if found.any():
                return _lifted(probability, found, threshold), 0
        return result, 0
    missed = points
    for threshold in THRESHOLDS:
        found = (probability > threshold) & inside
        hit = found[tuple(missed.T)]
        if hit.any():
            part = _parts_with(found, missed[hit])
            result = np.maximum(result, _lifted(probability, part, threshold))
        missed = missed[~hit]
        if not len(missed):
            break
    for point in missed:
        result = np.maximum(result, _ball(probability.shape, point) * inside)
    return result, len(missed)


def _parts_with(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that hold a point, each of which lies inside one."""
    parts, count = ndimage.label(mask)
    wanted = np.zeros(count + 1, dtype=bool)
    wanted[parts[tuple(points.T)]] = True
    return wanted[parts]


def _lifted(probability: np.ndarray, part: np.ndarray, threshold: float) -> np.ndarray:
    """Probabilities of a part, scaled so that its threshold becomes 0.5; 0 elsewhere."""
    lifted = np.clip(probability * (0.5 / threshold), 0.501, 1.0)
    return np.where(part, lifted, 0).astype(np.float32)


def _ball(shape: Sequence[int], centre: Sequence[int]) -> np.ndarray:
    """1 inside a small ball around `centre`, 0 elsewhere."""
    radius = max(MIN_BALL, BALL_SHARE * min(shape))
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
    return (distance <= radius**2).astype(np.float32)


def without_background(
    region: np.ndarray, foreground: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """Take out of a region what background clicks deny.

    A connected part with a background click and none inside goes; with both, the voxels nearer to a
    background click go.
    """
    result = region.copy()
    if not len(background):
        return result
    parts, _ = ndimage.label(region > 0.5)
    kept = set(parts[tuple(foreground.T)].tolist())
    for number in set(parts[tuple(background.T)].tolist()) - {0}:
        voxels = np.argwhere(parts == number)
        if number in kept:
            denied, _ = cKDTree(background).query(voxels)
            meant, _ = cKDTree(foreground).query(voxels)
            voxels = voxels[denied < meant]
        result[tuple(voxels.T)] = 0
    return result
