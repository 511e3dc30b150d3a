"""What a side, a level or a place that a prompt says means in a volume, and in an image."""

from __future__ import annotations

from .naming import names_a_side, prompt_words
from .parsing import ParsedPrompt
from .schema import Concepts
from .wording import BODY_PARTS, ORGAN_PARTS


def read_own_side(
    concepts: Concepts,
    parsed: ParsedPrompt,
    asked: tuple[str, ...],
    volume: bool,
    remarks: list[str],
) -> tuple[Concepts, tuple[str, ...]]:
    """Concepts in which the side of an object itself ("left hippocampus") is the patient's, no place.

    Returns:
        Concepts, and the keywords that a side of the patient belongs to.
    """
    side = parsed.side
    own = tuple(keyword for keyword in asked if keyword in parsed.sided) or asked
    if side is None or any(map(names_a_side, own)):
        return concepts, asked
    explicit = concepts.laterality
    changes = {"location": _beside(concepts.location)}
    if not volume:
        words = {word for keyword in own for word in prompt_words(keyword)}
        if words.isdisjoint(BODY_PARTS | ORGAN_PARTS):
            return concepts, asked
        remarks.append(f"{side!r} is left out: it is a side of the body, not of the image.")
        return concepts.model_copy(update=changes), asked
    if explicit is None:
        of = "" if own == asked else f" of {', '.join(map(repr, own))} alone"
        remarks.append(
            f"{side!r} is read as the patient's {side} side{of}; where nothing lies there, all stays."
        )
        return concepts.model_copy(update={**changes, "laterality": side}), own
    if explicit != side:
        remarks.append(f"{side!r} is left out beside 'on the {explicit} side'.")
    return concepts.model_copy(update=changes), asked


def _beside(location: str | None) -> str | None:
    """A location without its side: "top" of "top left"."""
    return " ".join(w for w in (location or "").split() if w not in ("left", "right")) or None


def side_to_place(concepts: Concepts, remarks: list[str]) -> Concepts:
    """Concepts of an image without patient axes: "left side" is a place in it."""
    words = {"superior": "top", "inferior": "bottom"}
    said = [words.get(concepts.level), concepts.laterality]
    if concepts.level is None and concepts.laterality is None:
        return concepts
    place = " ".join(word for word in said if word) or "center"
    if concepts.location not in (None, place):
        remarks.append(f"{place!r} is left out beside {concepts.location!r}.")
        place = concepts.location
    changes = {"location": place, "level": None, "laterality": None}
    return concepts.model_copy(update=changes)


def photo_to_level(concepts: Concepts) -> Concepts:
    """Concepts of a volume, whose slices have no top: "upper left" is a level and a place in it."""
    levels = {"top": "superior", "bottom": "inferior"}
    words = (concepts.location or "").split()
    said = [levels[word] for word in words if word in levels]
    if not said:
        return concepts
    rest = " ".join(word for word in words if word not in levels) or None
    return concepts.model_copy(update={"location": rest, "level": concepts.level or said[0]})
