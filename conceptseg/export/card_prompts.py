"""What a bundle's README says of prompts: how they act, and the words they may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..concepts import ATTRIBUTES, LOCATIONS
from ..concepts.orientation import grid_locations
from ..slices import RAS_DIRECTIONS

_METHOD = """\
It segments text-free by default: a student head predicts, from the image encoder's class token, the
prompt embedding that regions and their measured concepts had in training. A concept prompt (`--prompt`,
or the option `concept` in MONAI Label) """
_REPLACED = "takes its place when given."
_MIXED = """\
is mixed with it when given: with a `--displayable_configs#prompt_strength`
of {strength:g} (0: the image alone, 1: the prompt alone)."""


def method(inference: Mapping[str, Any]) -> str:
    """The paragraph on text-free masks and prompts, after the strength in inference.yaml."""
    strength = inference.get("displayable_configs", {}).get("prompt_strength", 1.0)
    return _METHOD + (_REPLACED if strength == 1 else _MIXED.format(strength=strength))


def vocabulary(config: Mapping[str, Any]) -> str:
    """Section with the words of prompts for this kind of image.

    Args:
        config: train.yaml.
    """
    if "slice_axes" in config:
        unsaid = {"color"}
    else:  # places stand for level and side there
        unsaid = {"level", "laterality", "intensity" if config.get("color", True) else "color"}
    words = {"class": config["keywords"], **ATTRIBUTES, "location": _places(config)}
    rows = [f"| {k} | {', '.join(v)} |" for k, v in words.items() if k not in unsaid]
    return "\n".join(
        [
            "A prompt may name these. Common synonyms of them are understood (upper, lower, circular, big"
            ' ...); any other word is refused in a sentence that suggests words. "Largest" and "smallest",'
            " with or without a number, keep these of what is found.",
            "",
            "| Concept | Words |",
            "|---|---|",
            *rows,
        ]
    )


def _places(config: Mapping[str, Any]) -> list[str]:
    """The cells of the grid in a picture, or in the slices that volumes are cut into."""
    if "slice_axes" in config:
        found = {w for axis in config["slice_axes"] for w in grid_locations(RAS_DIRECTIONS, axis)}
    else:
        found = {*grid_locations(config["directions"])}
    return [place for place in LOCATIONS if place in found]
