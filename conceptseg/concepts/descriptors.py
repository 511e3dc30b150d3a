"""Descriptors: what a multimodal model may say that no mask can tell, in closed lists per modality.

They stand beside the attributes of `Concepts`, and enter the sentence, the vocabulary and the read-out
of a network only if its text encoder is built with them, so that weights trained without stay valid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .orientation import grid_locations
from .schema import ATTRIBUTES, split_words

UNCLEAR = "unclear"  # the answer of a model that cannot tell, and what views that disagree make
Descriptors = Mapping[str, Sequence[str]]

_COLOR = ATTRIBUTES["color"]
# Words a reader of the modality uses; ultrasound follows ACR BI-RADS 2013 (echo pattern, margin).
QUESTIONS: Mapping[str, Descriptors] = {
    "endoscopy": {
        "color": _COLOR,
        "texture": ("smooth", "granular", "nodular", "ulcerated"),
        "margin": ("sharp", "blurred"),
        "pattern": ("uniform", "vascular", "pitted", "mottled"),
    },
    "ultrasound": {
        "echo": ("anechoic", "hypoechoic", "isoechoic", "hyperechoic", "mixed"),
        "margin": ("circumscribed", "indistinct", "angular", "microlobulated", "spiculated"),
        "pattern": ("homogeneous", "heterogeneous", "cystic", "calcified"),
    },
    "ct": {
        "density": ("hypodense", "isodense", "hyperdense", "mixed"),
        "margin": ("sharp", "blurred", "spiculated"),
        "pattern": ("homogeneous", "heterogeneous", "cystic", "calcified", "cavitary"),
    },
    "mr": {
        "margin": ("sharp", "blurred", "infiltrating"),
        "pattern": ("homogeneous", "heterogeneous", "cystic", "septated"),
    },
    "xray": {
        "margin": ("sharp", "blurred", "spiculated"),
        "pattern": ("homogeneous", "heterogeneous", "reticular", "nodular", "patchy"),
    },
    "skin": {
        "color": _COLOR,
        "texture": ("smooth", "scaly", "crusted", "ulcerated"),
        "margin": ("sharp", "blurred", "notched"),
        "pattern": ("uniform", "reticular", "globular", "streaked"),
    },
    "wound": {
        "color": _COLOR,
        "texture": ("granulating", "sloughy", "necrotic", "epithelial"),
        "margin": ("sharp", "blurred", "undermined", "macerated"),
        "pattern": ("uniform", "mottled"),
    },
    "histology": {
        "color": _COLOR,
        "texture": ("smooth", "granular", "fibrous"),
        "margin": ("sharp", "blurred", "infiltrating"),
        "pattern": ("glandular", "solid", "cribriform", "papillary"),
    },
}


def questions_of(modality: str) -> dict[str, tuple[str, ...]]:
    """Closed lists that a model is asked from for a modality, by attribute or descriptor.

    Raises:
        ValueError: an unknown modality.
    """
    if modality not in QUESTIONS:
        raise ValueError(
            f"expected a modality out of {sorted(QUESTIONS)}, got {modality!r}; choose the nearest,"
            " or give the closed lists yourself"
        )
    return {name: tuple(values) for name, values in QUESTIONS[modality].items()}


def paper_questions() -> dict[str, tuple[str, ...]]:
    """The five attributes that the paper (section 2.1) asks a model for, of photographs."""
    lists = {name: tuple(ATTRIBUTES[name]) for name in ("number", "shape", "size", "color")}
    return {**lists, "location": grid_locations(("right", "bottom"))}


def descriptors_of(modality: str | None) -> dict[str, tuple[str, ...]]:
    """The questions of a modality that are no attribute of `Concepts`; none without a modality."""
    if modality is None:
        return {}
    return {k: v for k, v in questions_of(modality).items() if k not in ATTRIBUTES}


def descriptor_words(descriptors: Descriptors) -> tuple[str, ...]:
    """Every word that `descriptor_clauses` can produce, in lower case, sorted."""
    texts = [*descriptors, *(value for values in descriptors.values() for value in values)]
    return tuple(sorted({word for text in texts for word in split_words(text)}))


def descriptor_clauses(said: Mapping[str, str]) -> list[str]:
    """Clauses such as "smooth texture", "sharp margin"; without those that are unclear."""
    return [f"{value} {name}" for name, value in said.items() if value and value != UNCLEAR]


def take_descriptors(prompt: str, descriptors: Descriptors) -> tuple[str, dict[str, str]]:
    """Read the descriptors of a prompt, with or without their name ("smooth texture", "smooth").

    A value that is also a word of the core vocabulary, or of two descriptors, needs its name.

    Args:
        prompt: free text.
        descriptors: what the network knows.

    Returns:
        The rest of the prompt, and descriptor -> value; of several values the first counts.
    """
    values = [value for listed in descriptors.values() for value in listed]
    core = {word for listed in ATTRIBUTES.values() for value in listed for word in value.split()}
    said: dict[str, str] = {}
    for name, listed in descriptors.items():
        for value in sorted(listed, key=len, reverse=True):
            named = rf"\b{value}[ -]{name}s?\b"
            alone = rf"|\b{value}\b" if values.count(value) == 1 and value not in core else ""
            prompt, found = re.subn(named + alone, " ", prompt, flags=re.IGNORECASE)
            if found:
                said.setdefault(name, value)
    return prompt, said
