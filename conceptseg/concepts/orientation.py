"""Where words meet axes: directions of array axes and the names of the 3x3 grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

OPPOSITES = {
    "right": "left",
    "left": "right",
    "bottom": "top",
    "top": "bottom",
    "anterior": "posterior",
    "posterior": "anterior",
    "superior": "inferior",
    "inferior": "superior",
}
IMAGE_VERTICAL = ("top", "bottom")  # directions of photographs, unknown to patient axes
CENTER = "center"
# Order of the words in a location, and one name for each dimension of space.
DIMENSIONS = {
    "top": 0, "bottom": 0, "superior": 0, "inferior": 0,
    "anterior": 1, "posterior": 1,
    "left": 2, "right": 2,
}  # fmt: skip
PLACE_WORDS = frozenset([*DIMENSIONS, CENTER])
_TIE = 1e-9  # a position on a border of the grid belongs to the middle, so that flips agree


def check_axes(axes: Sequence[str], spatial_dims: int | None = None) -> tuple[str, ...]:
    """Check the directions of an image's spatial axes.

    Args:
        axes: for each spatial axis the direction in which its index grows, such as
            ("right", "bottom") or ("right", "anterior", "superior").
        spatial_dims: number of axes the image has; None: 2 or 3.

    Returns:
        The axes as a tuple.

    Raises:
        ValueError: if the number is wrong, a word unknown, two axes share a dimension, or image
            directions (top, bottom) meet patient directions or a volume.
    """
    axes = tuple(axes)
    if len(axes) not in (2, 3) or (spatial_dims is not None and len(axes) != spatial_dims):
        wanted = "2 or 3" if spatial_dims is None else spatial_dims
        raise ValueError(f"expected {wanted} axes, got {axes}; name one direction per spatial axis")
    unknown = [word for word in axes if word not in OPPOSITES]
    if unknown:
        raise ValueError(f"expected axes out of {sorted(OPPOSITES)}, got {unknown}; correct them")
    if len({DIMENSIONS[word] for word in axes}) < len(axes):
        raise ValueError(f"expected axes of different dimensions, got {axes}; correct them")
    if is_photo(axes) and (len(axes) == 3 or any(DIMENSIONS[word] == 1 for word in axes)):
        raise ValueError(
            f"expected top/bottom together with left/right only, got {axes};"
            " use superior/inferior for patient axes"
        )
    return axes


def is_photo(axes: Sequence[str]) -> bool:
    """Whether the axes are directions of a photograph, not of a patient."""
    return any(word in IMAGE_VERTICAL for word in axes)


def plane_axes(axes: Sequence[str], slice_axis: int = -1) -> tuple[str, str]:
    """The two axes of the plane in which a volume is sliced; those of an image are its own.

    Args:
        axes: directions of 2 or 3 axes.
        slice_axis: index of the axis that slices are stacked along; volumes only.
    """
    axes = tuple(axes)
    if len(axes) == 3:
        axes = tuple(word for i, word in enumerate(axes) if i != slice_axis % 3)
    return axes


def third(position: float) -> int:
    """Third in which a relative position in [0, 1] lies: -1 first, 0 middle, 1 last."""
    return int(position > 2 / 3 + _TIE) - int(position < 1 / 3 - _TIE)


def join_directions(directions: Sequence[str]) -> str:
    """Name of a grid cell from its directions: vertical, then depth, then lateral; none: center."""
    return " ".join(sorted(directions, key=DIMENSIONS.__getitem__)) or CENTER


def location_word(centroid: Sequence[float], axes: Sequence[str]) -> str:
    """Name of the 3x3 cell that holds a point.

    Args:
        centroid: relative position in [0, 1] along the two axes.
        axes: the directions of these axes.

    Returns:
        A location such as "top left", "posterior" or "center".
    """
    directions = []
    for position, word in zip(centroid, axes, strict=True):
        cell = third(position)
        if cell:
            directions.append(word if cell > 0 else OPPOSITES[word])
    return join_directions(directions)


def grid_locations(axes: Sequence[str], slice_axis: int = -1) -> tuple[str, ...]:
    """The nine location names of an image or of a volume's slices."""
    first, second = plane_axes(check_axes(axes), slice_axis)
    centers = (1 / 6, 1 / 2, 5 / 6)
    return tuple(location_word(cell, (first, second)) for cell in product(centers, centers))
