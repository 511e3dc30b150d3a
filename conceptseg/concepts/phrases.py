"""Phrases whose words do not mean what they mean alone: "left foot", "slice 12", "with a dark center".

They are taken out before the words are sorted, each with a warning, or marked as not understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .indices import described_by, mark_indices
from .items import Item, Unread, is_thing, item_at, meaning, name_of
from .naming import Mention, describes, directions_of
from .orientation import PLACE_WORDS
from .schema import ATTRIBUTES
from .wording import (
    ARTICLES,
    BODY_PARTS,
    FILLERS,
    INDEX_NOUNS,
    OBJECT_PARTS,
    ORGAN_PARTS,
    PLACE_NOUNS,
    SIGNAL_NOUNS,
)

_LOOKS = frozenset([*ATTRIBUTES["color"], *ATTRIBUTES["intensity"]])
_HAVING = frozenset(["with", "having", "has", "have"])
_WITHIN = frozenset(["in", "at", "on"])
_LINKS = frozenset(["and", "or", "to"])
_NAMED_DIGITS = frozenset(["big", "little"])  # "big toe": the size is part of the name


@dataclass
class Phrases:
    """What is left of a prompt without such phrases.

    Attributes:
        items: words, mentions of keywords, and words that have no meaning where they stand.
        warnings: readable remarks on what was taken out.
    """

    items: list[Item] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def take_phrases(items: Sequence[str | Mention]) -> Phrases:
    """Take out the phrases in which words do not mean what they mean alone.

    Args:
        items: of `find_mentions`, the words as they were said.
    """
    found = Phrases(list(items))
    _take_body_parts(found)
    _take_relations(found)
    _take_object_parts(found)
    found.items = [_mid(item, found.items[i + 1 :]) for i, item in enumerate(found.items)]
    found.items = [_size(item, found.items[i + 1 :]) for i, item in enumerate(found.items)]
    mark_indices(found.items)
    return found


def _take_body_parts(found: Phrases) -> None:
    """Take "left foot" and "below the knee" out: a place on the body is none in an image."""
    i = 0
    while i < len(found.items):
        item = found.items[i]
        named = _is_body_part_of_a_name(item)
        if named or item in BODY_PARTS or item in ORGAN_PARTS:
            start = _start_of_relation(found.items, _start_of_body_part(found.items, i))
            said = " ".join([*found.items[start:i], item.text if named else item])
            left = [item] if named else [Unread(said)] if item in ORGAN_PARTS else []
            if not named or start < i:
                found.items[start : i + 1] = left
                i = start + len(left) - 1
            if item not in ORGAN_PARTS and (not named or " " in said):
                found.warnings.append(
                    f"{said!r} is left out: it is a place on the body, not in the image."
                )
        i += 1


def _is_body_part_of_a_name(item: Item) -> bool:
    """Whether an item is the part "breast" of a keyword such as "breast tumor", which names no side."""
    if not isinstance(item, Mention) or item.whole or item.text not in BODY_PARTS:
        return False
    return not any(directions_of(keyword) for keyword in item.keywords)


def _start_of_body_part(items: Sequence[Item], end: int) -> int:
    """Index of the first word of a side, such as "left lower", before the body part at `end`."""
    start = end
    if item_at(items, start - 1) in _NAMED_DIGITS and str(items[end]).startswith(("toe", "finger")):
        start -= 1
    while True:
        if _is_place(item_at(items, start - 1)):
            start -= 1
        elif start < end and item_at(items, start - 1) in ("and", "or") and start > 1:
            if not _is_place(items[start - 2]):
                return start
            start -= 2
        else:
            return start - (item_at(items, start - 1) == "both")


def _start_of_relation(items: Sequence[Item], start: int) -> int:
    """Index of the first word of "above the" or "the upper part of the" before a body part at `start`."""
    before = start - 1 - (item_at(items, start - 1) in ARTICLES)
    if item_at(items, before) in ("above", "below"):
        return before
    first = before
    while _is_place(item_at(items, first - 1)) or item_at(items, first - 1) in PLACE_NOUNS:
        first -= 1
    return first if item_at(items, before) == "of" and first < before else start


def _take_relations(found: Phrases) -> None:
    """Take "above the ulcer" out, where "above" is no place in the image; the ulcer stays named."""
    for i in reversed(range(len(found.items))):
        if found.items[i] in ("above", "below") and item_at(found.items, i + 1) in ARTICLES:
            thing = described_by(found.items, i + 1)
            if is_thing(thing):
                said = f"{found.items[i]} the {name_of(thing)}"
                found.warnings.append(f"{said!r} is left out: say where it is in the image.")
                del found.items[i]


def _is_place(item: Item | None) -> bool:
    """Whether an item is a direction or "center"."""
    return isinstance(item, str) and (meaning(item) in PLACE_WORDS or item == "mid")


def _take_object_parts(found: Phrases) -> None:
    """Take "with a dark center" out: it describes the object, not where it is."""
    i, taking = 0, False
    while i < len(found.items):
        begins = found.items[i] in _HAVING or (taking and found.items[i] == "and")
        end = _end_of_object_part(found.items, i + 1) if begins else None
        taking = end is not None
        if end is None:
            i += 1
            continue
        said = " ".join(str(word) for word in found.items[i + 1 : end] if word not in ARTICLES)
        found.warnings.append(f"{said!r} is left out: it describes a part of the object.")
        del found.items[i:end]


def _end_of_object_part(items: Sequence[Item], start: int) -> int | None:
    """Index after "a small dark center" at `start`; None if there is no such thing."""
    first = start + (item_at(items, start) in ARTICLES)
    while _describes_looks(item_at(items, first)):
        first += 1
    looks = any(meaning(item) in _LOOKS for item in items[start:first])
    end = _end_of_places(items, first)
    if not looks or end == first or is_thing(item_at(items, end)):
        return None
    inside = end + 1 + (item_at(items, end + 1) in ARTICLES)
    is_area = items[first] in PLACE_NOUNS - OBJECT_PARTS
    if is_area and item_at(items, end) in _WITHIN and _is_place(item_at(items, inside)):
        return _end_of_places(items, inside)  # "a dark area in the center"
    return end


def _end_of_places(items: Sequence[Item], start: int) -> int:
    """Index after the words for a place, or a part of an object, from `start` on."""
    while _is_place(item_at(items, start)) or item_at(items, start) in OBJECT_PARTS | PLACE_NOUNS:
        start += 1
    return start


def _describes_looks(item: Item | None) -> bool:
    """Whether an item is a shape, size, color or intensity."""
    names = ("shape", "size", "color", "intensity")
    return isinstance(item, str) and any(meaning(item) in ATTRIBUTES[name] for name in names)


def _mid(item: Item, after: Sequence[Item]) -> Item:
    """The word "mid" as a place where it stands before one: "mid left", "mid part"."""
    following = after[0] if after else None
    if item != "mid" or not isinstance(following, str):
        return item
    if _is_place(following) or following in PLACE_NOUNS:
        return "center"
    return Unread(item) if following in INDEX_NOUNS - {"level", "size"} else item


def _size(item: Item, after: Sequence[Item]) -> Item:
    """A word such as "intermediate", unread where it says a signal and not a size."""
    if meaning(item) != "medium":
        return item
    for word in after:
        if word in SIGNAL_NOUNS:
            return Unread(item)
        passed = isinstance(word, str) and (word in _LINKS or word not in FILLERS)
        if not passed or is_thing(word) or describes(meaning(word)):
            return item
    return item
