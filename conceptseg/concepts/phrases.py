"""Phrases whose words do not mean what they mean alone: "left foot", "slice 12", "with a dark center".

They are taken out before the words are sorted, each with a warning, or marked as not understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .naming import Mention, describes, directions_of
from .orientation import DIMENSIONS
from .schema import ATTRIBUTES
from .wording import (
    ARTICLES,
    BODY_PARTS,
    FILLERS,
    GENERIC_NOUNS,
    INDEX_NOUNS,
    NUMBER_WORDS,
    OBJECT_PARTS,
    ORGAN_PARTS,
    PLACE_NOUNS,
    REQUEST_WORDS,
    SIGNAL_NOUNS,
    SYNONYMS,
)

_PLACES = frozenset([*DIMENSIONS, "center"])
_LOOKS = frozenset([*ATTRIBUTES["color"], *ATTRIBUTES["intensity"]])
_HAVING = frozenset(["with", "having", "has", "have"])
_LINKS = frozenset(["and", "or", "to"])
_NAMED_DIGITS = frozenset(["big", "little"])  # "big toe": the size is part of the name
_COUNTS_ONLY = frozenset(["zero", "single", "solitary", "couple", "pair", "both", "double"]) | {
    word for word, number in NUMBER_WORDS.items() if number == 4 and word != "four"
}  # never an index: "segment several polyps"


@dataclass(frozen=True)
class Unread:
    """A word that has no meaning where it stands, such as the number in "slice 12"."""

    text: str


Item = str | Mention | Unread


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
    _take_object_parts(found)
    found.items = [_mid(item, found.items[i + 1 :]) for i, item in enumerate(found.items)]
    found.items = [_size(item, found.items[i + 1 :]) for i, item in enumerate(found.items)]
    _mark_indices(found.items)
    return found


def _meaning(item: Item) -> str | None:
    """Canonical word of an item; None for a mention."""
    return SYNONYMS.get(item, item) if isinstance(item, str) else None


def _is_thing(item: Item | None) -> bool:
    """Whether an item names objects."""
    return isinstance(item, Mention) or item in GENERIC_NOUNS


def _at(items: Sequence[Item], index: int) -> Item | None:
    """The item at `index`, None outside."""
    return items[index] if 0 <= index < len(items) else None


def _take_body_parts(found: Phrases) -> None:
    """Take "left foot" out: the side of a body part is no place in an image."""
    i = 0
    while i < len(found.items):
        item = found.items[i]
        named = _is_body_part_of_a_name(item)
        if named or item in BODY_PARTS or item in ORGAN_PARTS:
            start = _start_of_body_part(found.items, i)
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
    if _at(items, start - 1) in _NAMED_DIGITS and str(items[end]).startswith(("toe", "finger")):
        start -= 1
    while True:
        if _is_place(_at(items, start - 1)):
            start -= 1
        elif start < end and _at(items, start - 1) in ("and", "or") and start > 1:
            if not _is_place(items[start - 2]):
                return start
            start -= 2
        else:
            return start


def _is_place(item: Item | None) -> bool:
    """Whether an item is a direction or "center"."""
    return isinstance(item, str) and (_meaning(item) in _PLACES or item == "mid")


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
    end = start + (_at(items, start) in ARTICLES)
    looks = False
    while _describes_looks(_at(items, end)):
        looks = looks or _meaning(items[end]) in _LOOKS
        end += 1
    first = end
    while _is_place(_at(items, end)) or _at(items, end) in OBJECT_PARTS:
        end += 1
    return end if looks and end > first and not _is_thing(_at(items, end)) else None


def _describes_looks(item: Item | None) -> bool:
    """Whether an item is a shape, size, color or intensity."""
    names = ("shape", "size", "color", "intensity")
    return isinstance(item, str) and any(_meaning(item) in ATTRIBUTES[name] for name in names)


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
    if _meaning(item) != "medium":
        return item
    for word in after:
        if word in SIGNAL_NOUNS:
            return Unread(item)
        passed = isinstance(word, str) and (word in _LINKS or word not in FILLERS)
        if not passed or _is_thing(word) or describes(_meaning(word)):
            return item
    return item


def _mark_indices(items: list[Item]) -> None:
    """Mark the number in "slice 12" as unread, and those of "segments 4 and 5"."""
    for i, item in enumerate(items):
        name = item.text.split()[-1] if isinstance(item, Mention) else item
        if name not in INDEX_NOUNS:
            continue
        first = j = i + 1 + (_at(items, i + 1) in ("number", "nr", "no"))
        while _is_number(_at(items, j)):
            if _counts(items, i, j) if j == first else _precedes_objects(items, j):
                break
            items[j] = Unread(items[j])
            j += 1 + (_at(items, j + 1) in _LINKS)


def _is_number(item: Item | None) -> bool:
    """Whether an item may be an index."""
    if not isinstance(item, str) or item in _COUNTS_ONLY:
        return False
    return item.isdecimal() or item in NUMBER_WORDS


def _counts(items: Sequence[Item], noun: int, number: int) -> bool:
    """Whether a number right after an index noun counts objects, as in "segment 2 polyps"."""
    before = _at(items, noun - 1)
    if items[noun] == "segment" and (before is None or before in REQUEST_WORDS):
        after = items[number + 1 :]
        if after[:1] == ["of"]:
            return any(_is_plural(item) for item in after[1:3])
        return items[number] in NUMBER_WORDS or _precedes_objects(items, number)
    whole = before in ARTICLES and items[noun] in FILLERS  # "in the image 2 polyps"
    return (whole or items[number] == "one") and _precedes_objects(items, number)


def _precedes_objects(items: Sequence[Item], number: int) -> bool:
    """Whether a number stands before several objects, or "one" before an object."""
    thing = _described(items, number)
    return _is_plural(thing) or (items[number] in ("one", "1") and _is_thing(thing))


def _described(items: Sequence[Item], number: int) -> Item | None:
    """The item after a number and the words that describe it."""
    i = number + 1
    while isinstance(_at(items, i), str) and not _is_number(items[i]):
        if not describes(_meaning(items[i])):
            break
        i += 1
    return _at(items, i)


def _is_plural(item: Item | None) -> bool:
    """Whether an item names several objects."""
    if not _is_thing(item):
        return False
    last = (item.text if isinstance(item, Mention) else str(item)).split()[-1]
    regular = last.endswith("s") and not last.endswith(("ss", "us", "is"))
    own = isinstance(item, Mention) and any(last in k.lower().split() for k in item.keywords)
    return regular or (isinstance(item, Mention) and not own)
