"""What a prompt excludes: prompts say what to find, so only "no polyp" has a meaning of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .naming import Mention, describes
from .wording import (
    ABSENCES,
    ALL_WORDS,
    ARTICLES,
    CONJUNCTIONS,
    EXCEPTIONS,
    FILLERS,
    GENERIC_NOUNS,
    NEGATIONS,
)

_SINGLES = frozenset(["one", "single", "1"])  # "not one polyp" is no polyp
_NO_EXCEPTIONS = NEGATIONS | {"only", "just"}  # after "but"


@dataclass
class Negations:
    """What was negated.

    Attributes:
        items: the words and mentions that are not negated.
        absent: mentions said to be absent ("no polyp").
        excluded: mentions to be left out ("except the polyp").
        nothing: something without a name is said to be absent ("no lesion").
        warnings: readable remarks.
    """

    items: list[str | Mention] = field(default_factory=list)
    absent: list[Mention] = field(default_factory=list)
    excluded: list[Mention] = field(default_factory=list)
    nothing: bool = False
    warnings: list[str] = field(default_factory=list)


def take_negations(items: Sequence[str | Mention]) -> Negations:
    """Take negations and what they negate out of a prompt.

    Args:
        items: canonical words, and mentions of keywords.
    """
    found = Negations()
    i = 0
    while i < len(items):
        if items[i] in NEGATIONS or _is_exception(items, i):
            i = _take_one(items, i, found)
        else:
            found.items.append(items[i])
            i += 1
    return found


def _is_exception(items: Sequence[str | Mention], index: int) -> bool:
    """Whether "but" excludes: after "all", "any" or "everything", with the things it names between."""
    following = items[index + 1] if index + 1 < len(items) else None
    if items[index] != "but" or following in _NO_EXCEPTIONS:
        return False
    begins = (
        isinstance(following, Mention) or following in ARTICLES
    )  # "all small ones but the liver"
    for item in reversed(items[:index]):
        if item in ALL_WORDS:
            return True
        passed = isinstance(item, Mention) or item in FILLERS or item in GENERIC_NOUNS
        if not passed and not (begins and _may_describe(item, False)):
            return False
    return False


def _take_one(items: Sequence[str | Mention], start: int, found: Negations) -> int:
    """Take the negation at `start`; index of the first item after it."""
    word = items[start]
    first = start + 1
    while first < len(items) and items[first] in FILLERS:
        first += 1
    end = first
    while end < len(items) and _may_describe(items[end], end > first):
        end += 1
    described = [item for item in items[first:end] if item not in FILLERS]
    thing = items[end] if end < len(items) else None
    is_thing = isinstance(thing, Mention) or thing in GENERIC_NOUNS
    single = _SINGLES.issuperset(described) and not (described and word == "but")
    if is_thing and (word in ABSENCES or single):
        if not _SINGLES.issuperset(described):
            said = " ".join(described)
            found.warnings.append(f"{_quote(items[start : end + 1])} is read without {said!r}.")
        _file_thing(word, thing, found)
        return _take_list(items, start, end + 1, found)
    if described:
        found.warnings.append(
            f"{_quote(items[start:end])} is left out: a prompt says what to find, not what to avoid."
        )
        return end
    found.warnings.append(f"{word!r} is left out: a prompt says what to find, not what to avoid.")
    return start + 1


def _take_list(items: Sequence[str | Mention], start: int, index: int, found: Negations) -> int:
    """Exclude what a list goes on with: "all but the liver, the spleen and the kidney"."""
    if items[start] not in EXCEPTIONS:
        return index
    of_all = any(item in ALL_WORDS for item in items[:start])
    while True:
        following = index
        while following < len(items) and items[following] in ARTICLES | CONJUNCTIONS - {"but"}:
            following += 1
        linked = of_all or any(item in CONJUNCTIONS for item in items[index:following])
        if not linked or following == len(items) or not isinstance(items[following], Mention):
            return index
        found.excluded.append(items[following])
        index = following + 1


def _file_thing(word: str, thing: str | Mention, found: Negations) -> None:
    """Note a negated thing as absent or as excluded."""
    if not isinstance(thing, Mention):
        found.nothing = True
    elif word in ABSENCES:
        found.absent.append(thing)
    else:
        found.excluded.append(thing)


def _may_describe(item: str | Mention, inside: bool) -> bool:
    """Whether an item describes the negated thing; "or" may stand inside the description."""
    return isinstance(item, str) and (describes(item) or (inside and item in ("or", "nor")))


def _quote(items: Sequence[str | Mention]) -> str:
    """The items as a quoted piece of prompt."""
    return repr(" ".join(item.text if isinstance(item, Mention) else item for item in items))
