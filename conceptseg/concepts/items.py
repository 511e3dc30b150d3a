"""What a prompt is cut into: words, mentions of keywords, and words that are not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .naming import Mention
from .wording import GENERIC_NOUNS, NUMBER_WORDS, SYNONYMS


@dataclass(frozen=True)
class Unread:
    """A word that has no meaning where it stands, such as the number in "slice 12"."""

    text: str


Item = str | Mention | Unread


def item_at(items: Sequence[Item], index: int) -> Item | None:
    """The item at `index`, None outside."""
    return items[index] if 0 <= index < len(items) else None


def meaning(item: Item) -> str | None:
    """Canonical word of an item; None for a mention."""
    return SYNONYMS.get(item, item) if isinstance(item, str) else None


def is_thing(item: Item | None) -> bool:
    """Whether an item names objects."""
    return isinstance(item, Mention) or item in GENERIC_NOUNS


def is_number(word: str) -> bool:
    """Whether a word is a number, in digits or in letters."""
    return word.isdecimal() or word in NUMBER_WORDS


def name_of(item: Item) -> str:
    """Words of an item."""
    return item if isinstance(item, str) else item.text
