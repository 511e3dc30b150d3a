"""The words of a prompt, sorted by the attribute they say."""

from __future__ import annotations

from collections.abc import Sequence

from .items import Unread, is_thing
from .naming import LIST_WORDS, Mention, describes, index_inside
from .orientation import DIMENSIONS, join_directions
from .schema import ATTRIBUTES, LOCATIONS
from .wording import (
    FILLERS,
    GENERIC_NOUNS,
    IMAGE_NOUNS,
    LEVEL_WORDS,
    MAX_NUMBER,
    NUMBER_WORDS,
)

_WORD_ATTRIBUTES = ("shape", "size", "color", "intensity")
_PRONOUN_STARTS = frozenset(["the", "a", "this", "that", "which"])  # "the one"


class Reader:
    """Sorts the words of a prompt by attribute.

    Args:
        items: canonical words, and mentions of keywords.
    """

    def __init__(self, items: Sequence[str | Mention]) -> None:
        names = ("number", *_WORD_ATTRIBUTES, "level", "laterality")
        self.said: dict[str, list] = {name: [] for name in names}
        self.directions: list[str] = []
        self.center = False
        self.both = False
        self.sides: dict[str, list[str | Mention]] = {}  # each with the objects it is said before
        self.unknown: list[str] = []
        self.warnings: list[str] = []
        self.mentions = [item for item in items if isinstance(item, Mention)]
        for i, item in enumerate(items):
            if isinstance(item, Unread):
                self._note_unknown(item.text)
            elif isinstance(item, str):
                self._sort(item, items[:i], items[i + 1 :])

    def _sort(self, word: str, before: Sequence, after: Sequence) -> None:
        """Sort one word; its neighbours tell "left side" from "left", "the one" from "one"."""
        following = after[0] if after else None
        if self._take_side_or_level(word, after):
            return
        if word in DIMENSIONS:
            self.directions.append(word)
            if word in ATTRIBUTES["laterality"]:
                self.sides.setdefault(word, []).extend(_things_sided(before, after))
        elif word == "center":
            self.center = True
        elif word == "both":
            self.both = True
        elif word in NUMBER_WORDS:
            if word != "one" or not _is_pronoun(before[-1] if before else None, following):
                self.said["number"].append(NUMBER_WORDS[word])
        elif word.isdecimal() and int(word) <= MAX_NUMBER:
            self.said["number"].append(int(word))
        elif word in ATTRIBUTES["intensity"] and following in ATTRIBUTES["color"]:
            self.warnings.append(f"'{word} {following}' is read as {following!r}.")
        else:
            self._take_attribute(word)

    def _take_side_or_level(self, word: str, after: Sequence) -> bool:
        """Take "left side" and "superior level", unless they are those of the image, not the patient."""
        if not after or _of_the_image(after[1:]):
            return False
        if after[0] == "side" and word in ATTRIBUTES["laterality"]:
            self.said["laterality"].append(word)
        elif after[0] == "level" and word in LEVEL_WORDS:
            self.said["level"].append(LEVEL_WORDS[word])
        else:
            return False
        return True

    def _take_attribute(self, word: str) -> None:
        """Take a word of a closed list; note one that is in none."""
        for name in _WORD_ATTRIBUTES:
            if word in ATTRIBUTES[name]:
                self.said[name].append(word)
                return
        if word not in FILLERS and word not in GENERIC_NOUNS:
            self._note_unknown(word)

    def _note_unknown(self, word: str) -> None:
        """Note a word that is not understood."""
        if word not in self.unknown:
            self.unknown.append(word)

    def values(self, several_keywords: bool) -> dict:
        """Attributes said. Of several values the first counts; of sides and levels, none.

        Args:
            several_keywords: the prompt names several, so that "both" counts them, not objects.
        """
        values = {}
        if self.both and not several_keywords:
            self.said["number"].append(2)
        for name, said in self.said.items():
            distinct = list(dict.fromkeys(said))
            if len(distinct) > 1 and name in ("laterality", "level"):
                self.warnings.append(f"several values of {name}: {distinct}; none is used.")
            elif distinct:
                values[name] = distinct[0]
                if len(distinct) > 1:
                    self.warnings.append(
                        f"several values of {name}: {distinct}; {distinct[0]!r} is used."
                    )
        location = self._location()
        return values if location is None else {**values, "location": location}

    def own_side(self, location: str | None) -> tuple[str | None, tuple[str, ...]]:
        """The side in a location that is said right before objects, and the keywords of these."""
        for word in (location or "").split():
            if things := self.sides.get(word):
                named = [k for t in things if isinstance(t, Mention) for k in t.keywords]
                return word, tuple(dict.fromkeys(named))
        return None, ()

    def _location(self) -> str | None:
        """Grid cell of the directions said; None if there is none."""
        chosen: dict[int, list[str]] = {}
        for word in dict.fromkeys(self.directions):
            chosen.setdefault(DIMENSIONS[word], []).append(word)
        for words in chosen.values():
            if len(words) > 1:
                self.warnings.append(f"{' and '.join(map(repr, words))} at once: neither is used.")
        clear = [words[0] for words in chosen.values() if len(words) == 1]
        if not clear:
            return "center" if self.center and not chosen else None
        name = join_directions(clear)
        if name not in LOCATIONS:
            self.warnings.append(f"{name!r} is no place in a plane; it is left out.")
            return None
        return name


def _of_the_image(after: Sequence[str | Mention]) -> bool:
    """Whether words go on with "of the image"."""
    return list(after[:1]) == ["of"] and any(word in IMAGE_NOUNS for word in after[1:3])


def _things_sided(before: Sequence, after: Sequence) -> list[str | Mention]:
    """Objects that a side between these words is said of, as "left" is in "left small hippocampus".

    One, or those of a list that shares a noun ("left anterior and posterior hippocampus"), with what
    lies in it ("nodule in the left lung").
    """
    things: list[str | Mention] = []
    for item in after:
        if is_thing(item):
            things.append(item)
            if not getattr(item, "shares_noun", False):
                inside = index_inside(before)
                return things if inside is None else [*things, before[inside]]
        elif not isinstance(item, str) or not (describes(item) or (things and item in LIST_WORDS)):
            break
    return []


def _is_pronoun(before: str | Mention | None, following: str | Mention | None) -> bool:
    """Whether "one" between these stands for a thing ("the left one"), not for a number."""
    if is_thing(following):
        return False
    counts = isinstance(following, str) and describes(following)
    refers = isinstance(before, str) and (before in _PRONOUN_STARTS or describes(before))
    return refers and not counts
