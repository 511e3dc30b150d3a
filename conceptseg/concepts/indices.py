"""Numbers that tell which one, such as that of "slice 12", apart from those that count objects."""

from __future__ import annotations

from collections.abc import Sequence

from .items import Item, Unread, is_number, is_thing, item_at, meaning, name_of
from .naming import Mention, describes
from .wording import ARTICLES, FILLERS, INDEX_NOUNS, NUMBER_WORDS, PREPOSITIONS

_LINKS = frozenset(["and", "or", "to"])  # between indices
_SEVERAL = frozenset(["them", "these", "those"])
_COUNTS_ONLY = frozenset(["zero", "single", "solitary", "couple", "pair", "both", "double"]) | {
    word for word, number in NUMBER_WORDS.items() if number == 4 and word != "four"
}  # never an index: "segment several polyps"


def mark_indices(items: list[Item]) -> None:
    """Mark the number in "slice 12" as unread, and those of "segments 4 and 5"."""
    for i, item in enumerate(items):
        name = item.text.split()[-1] if isinstance(item, Mention) else item
        if name not in INDEX_NOUNS:
            continue
        first = j = i + 1 + (item_at(items, i + 1) in ("number", "nr", "no"))
        while _is_number(item_at(items, j)):
            if _counts(items, i, j) if j == first else _precedes_objects(items, j):
                break
            items[j] = Unread(items[j])
            j += 1 + (item_at(items, j + 1) in _LINKS)


def _is_number(item: Item | None) -> bool:
    """Whether an item may be an index."""
    if not isinstance(item, str) or item in _COUNTS_ONLY:
        return False
    return is_number(item)


def _counts(items: Sequence[Item], noun: int, number: int) -> bool:
    """Whether a number right after an index noun counts objects, as in "segment 2 polyps"."""
    before = item_at(items, noun - 1)
    if items[noun] == "segment" and not _leads_to_a_noun(before):
        return items[number] in NUMBER_WORDS or _precedes_objects(items, number)
    # "in the image 2 polyps", "in the lower left region 2 polyps", "of small size, 2 of them"
    whole = items[noun] in FILLERS and (before in ARTICLES or _is_adjective(before))
    return (whole or items[number] == "one") and _precedes_objects(items, number)


def _leads_to_a_noun(before: Item | None) -> bool:
    """Whether "segment" after an item is a noun ("liver segment 4"), not a request ("to segment")."""
    if isinstance(before, Mention) or _is_number(before) or _is_adjective(before):
        return True
    return before in ARTICLES or (before in PREPOSITIONS and before != "to")


def _is_adjective(item: Item | None) -> bool:
    """Whether an item describes, but for a number."""
    return isinstance(item, str) and describes(meaning(item)) and not _is_number(item)


def _precedes_objects(items: Sequence[Item], number: int) -> bool:
    """Whether a number stands before several objects ("2 of the polyps"), or "one" before an object."""
    if item_at(items, number + 1) == "of":
        return any(_is_plural(item) or item in _SEVERAL for item in items[number + 2 : number + 4])
    thing = described_by(items, number)
    return _is_plural(thing) or (items[number] in ("one", "1") and is_thing(thing))


def described_by(items: Sequence[Item], number: int) -> Item | None:
    """The item after a number and the words that describe it."""
    i = number + 1
    while isinstance(item_at(items, i), str) and not _is_number(items[i]):
        if not describes(meaning(items[i])):
            break
        i += 1
    return item_at(items, i)


def _is_plural(item: Item | None) -> bool:
    """Whether an item names several objects."""
    if not is_thing(item):
        return False
    last = name_of(item).split()[-1]
    regular = last.endswith("s") and not last.endswith(("ss", "us", "is"))
    own = isinstance(item, Mention) and any(last in k.lower().split() for k in item.keywords)
    return regular or (isinstance(item, Mention) and not own)
