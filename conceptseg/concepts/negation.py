"""What a prompt excludes: prompts say what to find, so only "no polyp" has a meaning of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .items import is_number, is_thing, name_of
from .naming import Mention, describes
from .orientation import PLACE_WORDS
from .wording import (
    ABSENCES,
    ALL_WORDS,
    ARTICLES,
    EXCEPTIONS,
    FILLERS,
    NEGATIONS,
    PLACE_NOUNS,
    PREPOSITIONS,
    STATE_WORDS,
)

_SINGLES = frozenset(["one", "single", "1"])  # "not one polyp" is no polyp
_NO_EXCEPTIONS = NEGATIONS | {"only", "just"}  # after "but"
_LINKS = frozenset(["or", "nor"])  # of a list that is negated as a whole
_OVER_AND = EXCEPTIONS | {"without", "not"}  # negations whose list "and" may join as well
_WHAT_TO_FIND = "a prompt says what to find, not what to avoid."


@dataclass(frozen=True)
class Described:
    """A mention to be left out that is only described in part, as in "all but the left kidney".

    Attributes:
        mention: to be left out.
        words: that describe it.
        said: the whole negation, quoted.
    """

    mention: Mention
    words: str
    said: str


@dataclass
class Negations:
    """What was negated.

    Attributes:
        items: the words and mentions that are not negated.
        absent: mentions said to be absent ("no polyp").
        excluded: mentions to be left out ("except the polyp").
        described: mentions to be left out that a description narrows ("except the small polyp").
        nothing: something without a name is said to be absent ("no lesion").
        of_all: "all" or its like stands before a negation.
        warnings: readable remarks.
    """

    items: list[str | Mention] = field(default_factory=list)
    absent: list[Mention] = field(default_factory=list)
    excluded: list[Mention] = field(default_factory=list)
    described: list[Described] = field(default_factory=list)
    nothing: bool = False
    of_all: bool = False
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
            found.of_all |= any(item in ALL_WORDS for item in items[:i])
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
    # "all small ones but the liver"
    begins = isinstance(following, Mention) or following in ARTICLES
    for i, item in reversed(list(enumerate(items[:index]))):
        if item in ALL_WORDS:
            return NEGATIONS.isdisjoint(items[:i])  # "no polyp at all, but an ulcer"
        passed = is_thing(item) or item in FILLERS
        if not passed and not (begins and _may_describe(item)):
            return False
    return False


def _take_one(items: Sequence[str | Mention], start: int, found: Negations) -> int:
    """Take the negation at `start` with all it negates; index of the first item after it."""
    first = _pass(items, start + 1, FILLERS)
    end = _take_thing(items, start, first, found)
    if end is not None:
        return _take_list(items, start, end, found)
    end = _end_of_description(items, first)
    if items[end - 1] == "one":  # "except the one on the left"
        end = _end_of_place(items, end)
    end = end if end > first else start + 1
    found.warnings.append(f"{_quote(items[start:end])} is left out: {_WHAT_TO_FIND}")
    return end


def _take_list(items: Sequence[str | Mention], start: int, end: int, found: Negations) -> int:
    """Take what a list goes on with up to its last linked member: "no liver, spleen or kidney"."""
    word = items[start]
    links = _LINKS | ({"and"} if word in _OVER_AND else set())
    of_all = word in EXCEPTIONS and found.of_all
    waiting: list[int] = []  # members after a comma alone, negated if a linked one follows
    index = end
    while True:
        first = _pass(items, index, ARTICLES | links)
        linked = of_all or not links.isdisjoint(items[index:first])
        after = _end_of_description(items, first)
        if after == len(items) or not is_thing(items[after]):
            return end
        index = after + 1
        waiting.append(first)
        if linked:
            for member in waiting:
                taken = _take_thing(items, start, member, found)
                if taken is None:
                    return end
                end = index = taken
            waiting = []


def _take_thing(
    items: Sequence[str | Mention], start: int, first: int, found: Negations
) -> int | None:
    """File the thing said from `first` on under the negation at `start`.

    Returns:
        Index of the first item after it; None where nothing can be negated.
    """
    word = items[start]
    thing_at = _end_of_description(items, first)
    thing = items[thing_at] if thing_at < len(items) else None
    if not is_thing(thing):
        return None
    end = thing_at + 1 if word in ABSENCES else _end_of_place(items, thing_at + 1)
    words = [*items[first:thing_at], *filter(_may_describe, items[thing_at + 1 : end])]
    said = _quote([word, *items[first:end]])
    plain = _SINGLES.issuperset(words) and not (words and word == "but")
    if plain or word in ABSENCES:
        _file_thing(word, thing, found)
        if not plain:
            found.warnings.append(f"{said} is read without {_quote(words)}.")
    elif isinstance(thing, Mention) and not any(map(is_number, words)):
        found.described.append(Described(thing, _quote(words), said))
    else:
        return None
    return end


def _file_thing(word: str, thing: str | Mention, found: Negations) -> None:
    """Note a negated thing as absent, or as excluded ("all but the polyp", "all without the polyp")."""
    if not isinstance(thing, Mention):
        found.nothing = True
    elif word in ABSENCES and not (word == "without" and found.of_all):
        found.absent.append(thing)
    else:
        found.excluded.append(thing)


def _pass(items: Sequence[str | Mention], index: int, words: Collection[str]) -> int:
    """Index of the first item from `index` on that is none of the words."""
    while index < len(items) and items[index] in words:
        index += 1
    return index


def _end_of_description(items: Sequence[str | Mention], first: int) -> int:
    """Index of the first item from `first` on that does not describe."""
    end = first
    while end < len(items) and _may_describe(items[end], end > first):
        end += 1
    return end


def _end_of_place(items: Sequence[str | Mention], start: int) -> int:
    """Index after "in the lower left part" at `start`; `start` if no place is said there."""
    first = _pass(items, start, PREPOSITIONS | ARTICLES | STATE_WORDS)
    end = first
    while end < len(items) and (_may_describe(items[end]) or items[end] in PLACE_NOUNS):
        end += 1
    linked = not PREPOSITIONS.isdisjoint(items[start:first])
    return end if linked and any(item in PLACE_WORDS for item in items[first:end]) else start


def _may_describe(item: str | Mention, inside: bool = False) -> bool:
    """Whether an item describes the negated thing; "or" may stand inside the description."""
    return isinstance(item, str) and (describes(item) or (inside and item in _LINKS))


def _quote(items: Sequence[str | Mention]) -> str:
    """The items as a quoted piece of prompt."""
    return repr(" ".join(map(name_of, items)))


def apply_negations(
    found: Negations, named: Sequence[str], keywords: Sequence[str]
) -> tuple[list[str], bool, list[str]]:
    """Take what is negated from the keywords that a prompt names.

    Args:
        found: of `take_negations`.
        named: keywords that the rest of the prompt names.
        keywords: class keywords.

    Returns:
        Keywords the prompt is about, whether it says that they are absent, and remarks.
    """
    negated, remarks = _negated_keywords(found, named, keywords)
    if not negated:
        if found.nothing and named:
            remarks.append(f"a negation is left out: {_WHAT_TO_FIND}")
        return list(named), found.nothing and not named, remarks
    asked = named or ([] if found.absent else keywords)
    kept = [keyword for keyword in asked if keyword not in negated]
    if kept:
        remarks.append(f"only {', '.join(map(repr, kept))} is looked for.")
        return kept, False, remarks
    if named:
        remarks.append("the same is asked for and negated; the negation is used.")
    return negated, True, remarks


def _negated_keywords(
    found: Negations, named: Sequence[str], keywords: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Keywords that are negated, and remarks.

    Of a described mention the description is left out; but where that would exclude what the prompt
    asks for ("the right kidney, not the left kidney") or every keyword, the negation is.
    """
    negated = [k for mention in (*found.absent, *found.excluded) for k in mention.keywords]
    remarks = []
    for described in found.described:
        held = set(described.mention.keywords)
        if held.issuperset(keywords) or not held.isdisjoint(named):
            remarks.append(f"{described.said} is left out: {_WHAT_TO_FIND}")
        else:
            negated += described.mention.keywords
            remarks.append(f"{described.said} is read without {described.words}.")
    return list(dict.fromkeys(negated)), remarks
