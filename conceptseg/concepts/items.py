"""What a prompt is cut into: words, mentions of keywords, and words that are not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .naming import Mention
from .wording import GENERIC_NOUNS, SYNONYMS


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


def name_of(thing: Item) -> str:
    """Words of a mention, or of another item."""
    return thing.text if isinstance(thing, Mention) else str(thing)
