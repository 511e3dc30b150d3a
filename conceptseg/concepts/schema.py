"""What can be said about an object: a closed list of values for every attribute."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

Shape = Literal["round", "oval", "elongated", "irregular"]
Size = Literal["tiny", "small", "medium", "large"]
Color = Literal[
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray", "white"
]
Intensity = Literal["dark", "isointense", "bright"]
Level = Literal["superior", "middle", "inferior"]
Laterality = Literal["left", "right"]
# The 3x3 grids of photographs, then those of axial, coronal and sagittal planes; shared names once.
Location = Literal[
    "top left", "top", "top right", "left", "center", "right", "bottom left", "bottom",
    "bottom right",
    "anterior left", "anterior", "anterior right", "posterior left", "posterior",
    "posterior right",
    "superior left", "superior", "superior right", "inferior left", "inferior", "inferior right",
    "superior anterior", "superior posterior", "inferior anterior", "inferior posterior",
]  # fmt: skip

NUMBER_BINS = ("0", "1", "2", "3", "many")
MANY = 4  # smallest number that is said "many"
LOCATIONS: tuple[str, ...] = get_args(Location)

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "number": NUMBER_BINS,
    "location": LOCATIONS,
    "shape": get_args(Shape),
    "size": get_args(Size),
    "color": get_args(Color),
    "intensity": get_args(Intensity),
    "level": get_args(Level),
    "laterality": get_args(Laterality),
}  # a plain dict, because a read-only proxy could not be pickled for data loader workers


class Concepts(BaseModel):
    """What is known about the objects of one class in one image; None means not known or not said.

    Attributes:
        keyword: name of the class, such as "polyp".
        number: separate objects, 0 or more.
        location: cell of the 3x3 grid. Photographs: image directions. Patient axes: directions of
            the plane the slices are cut in.
        shape: outline of the largest object.
        size: share of the image that the objects cover together.
        color: mean color; color images only.
        intensity: grey level against the surrounding rim; grey images only.
        level: third of the volume along the inferior-superior axis; volumes only.
        laterality: side of the patient, not of the screen; volumes only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keyword: str
    number: int | None = Field(default=None, ge=0)
    location: Location | None = None
    shape: Shape | None = None
    size: Size | None = None
    color: Color | None = None
    intensity: Intensity | None = None
    level: Level | None = None
    laterality: Laterality | None = None

    @field_validator("keyword")
    @classmethod
    def _keyword_holds_a_word(cls, keyword: str) -> str:
        """Refuse a keyword that no sentence could name."""
        if not split_words(keyword):
            raise ValueError(
                f"expected a keyword with at least one letter or digit, got {keyword!r};"
                " name the class, for example 'polyp'"
            )
        return keyword


def split_words(text: str) -> list[str]:
    """Words of `text` in lower case; everything but letters and digits separates."""
    return re.findall(r"[^\W_]+", text.lower())


def number_bin(number: int) -> str:
    """Bin of a number of objects: "0", "1", "2", "3" or "many".

    Args:
        number: objects, 0 or more.

    Returns:
        One of `NUMBER_BINS`.

    Raises:
        ValueError: if `number` is negative.
    """
    if number < 0:
        raise ValueError(f"expected a number of objects >= 0, got {number}; use None for unknown")
    return NUMBER_BINS[min(int(number), MANY)]
