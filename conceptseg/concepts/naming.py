"""Which keywords a prompt names: in full, by a part of their name, in a list that shares a noun."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from .orientation import DIMENSIONS
from .schema import ATTRIBUTES
from .sentences import plural
from .wording import ARTICLES, FILLERS, NUMBER_WORDS, STATE_WORDS, SYNONYMS

LIST_WORDS = frozenset(["and", "or", "the"])
_INSIDE = frozenset(["in", "of", "on", "at", "from"])  # between an object and what it lies in
_BETWEEN = _INSIDE | ARTICLES | STATE_WORDS
_DESCRIPTIONS = frozenset(
    [*DIMENSIONS, "center", *NUMBER_WORDS]
    + [word for name in ("shape", "size", "color", "intensity") for word in ATTRIBUTES[name]]
)


@dataclass(frozen=True)
class Mention:
    """Words of a prompt that stand for keywords.

    Attributes:
        text: the words.
        keywords: those that may be meant; one if named in full.
        whole: named in full, not by a part such as the noun that several share.
        shares_noun: its noun follows later in a list: "anterior" in "anterior and posterior hippocampus".
    """

    text: str
    keywords: tuple[str, ...]
    whole: bool
    shares_noun: bool = False


def prompt_words(text: str) -> list[str]:
    """Words of `text` in lower case; decimals such as "2.5" stay one word."""
    return re.findall(r"\d+[.,]\d+|[^\W_]+", text.lower())


def describes(word: str) -> bool:
    """Whether a canonical word says an attribute: number, place, shape, size, color or intensity."""
    return word in _DESCRIPTIONS or word.isdecimal()


def complete_lists(words: Sequence[str], keywords: Sequence[str]) -> list[str | Mention]:
    """Find what shares a later noun: "anterior and posterior hippocampus" says it once.

    Words that are a keyword themselves share none: of "liver" and "liver tumor", each is named.
    """
    whole = {form for keyword in keywords for form in _word_forms(tuple(prompt_words(keyword)))}
    siblings: dict[str, dict[tuple[str, ...], str]] = {}
    for keyword in keywords:
        *first, noun = prompt_words(keyword)
        if first:
            siblings.setdefault(noun, {}).setdefault(tuple(first), keyword)
    items: list[str | Mention] = list(words)
    for noun, named in siblings.items():
        forms = _word_forms((noun,))
        for i in range(len(items)):
            first = _starting(items, i, named)
            if first and first not in whole and _leads_to_noun(items, i + len(first), named, forms):
                mention = Mention(" ".join(first), (named[first],), True, shares_noun=True)
                items[i : i + len(first)] = [mention]
    return items


def _starting(
    items: Sequence[str | Mention], start: int, phrases: Iterable[tuple[str, ...]]
) -> tuple[str, ...]:
    """The phrase that `items` hold at `start`, or an empty one."""
    return next((p for p in phrases if tuple(items[start : start + len(p)]) == p), ())


def _leads_to_noun(items, start: int, firsts, forms: Collection[tuple[str, ...]]) -> bool:
    """Whether a list goes on at `start`, over a further member at least, up to the noun."""
    more = False
    while start < len(items):
        if (items[start],) in forms:
            return more
        first = _starting(items, start, firsts)
        if not first and items[start] not in LIST_WORDS:
            return False
        more |= bool(first)
        start += len(first) or 1
    return False


def find_mentions(words: Sequence[str | Mention], keywords: Sequence[str]) -> list[str | Mention]:
    """Replace the words that name keywords, longest first, by a `Mention` each.

    Singular and plural match, and parts of a name that hold a noun of it: "hippocampus" may mean
    any keyword that ends so. Directions and attributes alone ("posterior") are no mention.

    Args:
        words: of `complete_lists`.
        keywords: class keywords.
    """
    meant: dict[tuple[str, ...], Mention] = {}
    for keyword in keywords:
        for form in _word_forms(tuple(prompt_words(keyword))):
            meant.setdefault(form, Mention(" ".join(form), (keyword,), True))
    parts: dict[tuple[str, ...], list[str]] = {}
    for keyword in keywords:
        for form in {form for part in _parts(keyword) for form in _word_forms(part)}:
            parts.setdefault(form, []).append(keyword)
    for form, holders in parts.items():
        meant.setdefault(form, Mention(" ".join(form), tuple(holders), False))
    items: list[str | Mention] = list(words)
    for form in sorted(meant, key=len, reverse=True):
        start = 0
        while start + len(form) <= len(items):
            if tuple(items[start : start + len(form)]) == form:
                items[start : start + len(form)] = [meant[form]]
            start += 1
    return items


def join_names(items: Sequence) -> list:
    """Join a name said in two: with a keyword "liver tumor", "tumor of the liver" asks for no liver.

    Args:
        items: canonical words, mentions of keywords, and what is not read.
    """
    joined: list = []
    for item in items:
        first = index_inside(joined) if isinstance(item, Mention) else None
        if first is not None and not joined[first].whole:
            meant = tuple(k for k in joined[first].keywords if _has_part(k, item.text))
            if meant:
                text = f"{item.text} {joined[first].text}"
                item = Mention(text, meant, len(meant) == 1)
                joined[first:] = [word for word in joined[first + 1 :] if describes(word)]
        joined.append(item)
    return joined


def index_inside(before: Sequence) -> int | None:
    """Index of the mention said to be in what follows: of "nodule" in "nodule located in the"."""
    linked = False
    for i in reversed(range(len(before))):
        item = before[i]
        if isinstance(item, Mention):
            return i if linked else None
        if not isinstance(item, str) or not (item in _BETWEEN or describes(item)):
            return None
        linked |= item in _INSIDE
    return None


def _has_part(keyword: str, text: str) -> bool:
    """Whether words, in singular or plural, are a part of a keyword."""
    words = tuple(prompt_words(text))
    return any(words in _word_forms(part) for part in _parts(keyword))


def _parts(keyword: str) -> list[tuple[str, ...]]:
    """Neighbouring words of a keyword that hold a noun."""
    words = tuple(prompt_words(keyword))
    runs = [words[i:j] for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    return [run for run in runs if any(_is_noun(word) for word in run)]


def _is_noun(word: str) -> bool:
    """Whether a word of a keyword can stand for it."""
    return not describes(SYNONYMS.get(word, word)) and word not in FILLERS


def _word_forms(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The words with their last in singular and plural, irregular and regular."""
    *first, last = words
    lasts = {last, plural(last), last + "s", last + "es"}
    if last.endswith("s") and not last.endswith(("ss", "us", "is")):
        lasts.add(last[:-1])
    return {(*first, form) for form in lasts}


def name_keywords(
    mentions: Sequence[Mention], directions: Collection[str], keywords: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Keywords that mentions and directions name together.

    A noun that several keywords share means all of them, unless a direction picks some: of an
    anterior and a posterior hippocampus, "hippocampus, posterior" means one, "left hippocampus" both.
    Without any noun, a direction names the one keyword that holds it.

    Args:
        mentions: of `find_mentions`, those to name.
        directions: canonical directions said elsewhere.
        keywords: class keywords.

    Returns:
        The keywords in the order of the prompt, and the directions used up, each with the keyword it
        helped to name.
    """
    whole = {m.keywords[0] for m in mentions if m.whole}
    named: list[str] = []
    used: dict[str, str] = {}
    for mention in mentions:
        if mention.whole:
            named.append(mention.keywords[0])
        elif not whole.intersection(mention.keywords):  # otherwise it refers back to that one
            picked = _pick(mention.keywords, directions)
            used.update(picked)
            named += list(dict.fromkeys(picked.values())) or mention.keywords
    if not mentions and len(keywords) > 1:
        held = {word: [k for k in keywords if word in directions_of(k)] for word in directions}
        used = {word: holders[0] for word, holders in held.items() if len(holders) == 1}
        named = list(used.values())
    return list(dict.fromkeys(named)), used


def _pick(holders: Sequence[str], directions: Collection[str]) -> dict[str, str]:
    """Directions that only one of the keywords holds, with that keyword."""
    held = {word: [k for k in holders if word in directions_of(k)] for word in directions}
    return {word: found[0] for word, found in held.items() if len(found) == 1 < len(holders)}


def names_a_side(keyword: str) -> bool:
    """True when mirroring would make another object of this one, such as a right kidney of a left one."""
    return re.search(r"\b(left|right)\b", keyword, re.IGNORECASE) is not None


def directions_of(keyword: str) -> set[str]:
    """Canonical directions in a keyword."""
    return {SYNONYMS.get(w, w) for w in prompt_words(keyword)}.intersection(DIMENSIONS)
