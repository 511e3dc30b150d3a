"""A prompt to concepts: closed vocabulary with synonyms; what is not understood is named."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .naming import Mention, complete_lists, describes, find_mentions, name_keywords, prompt_words
from .negation import Negations, take_negations
from .normalizing import normalize, take_measures
from .orientation import DIMENSIONS, join_directions
from .phrases import Unread, take_phrases
from .schema import ATTRIBUTES, LOCATIONS, Concepts
from .wording import (
    FILLERS,
    GENERIC_NOUNS,
    IMAGE_NOUNS,
    LEVEL_WORDS,
    MAX_NUMBER,
    NUMBER_WORDS,
    SYNONYMS,
)

MAX_CHARACTERS = 1000  # of a prompt; a longer text is a document
_WORD_ATTRIBUTES = ("shape", "size", "color", "intensity")
_PRONOUN_STARTS = frozenset(["the", "a", "this", "that", "which"])  # "the one"


@dataclass(frozen=True)
class ParsedPrompt:
    """What was read from a prompt.

    Attributes:
        concepts: the attributes said, for the first keyword (or the only one there is); None when
            no keyword is named, no attribute said and there are several keywords.
        keywords: all keywords named, in the order of the prompt.
        unknown_words: words outside the vocabulary, in reading order.
        warnings: readable remarks: suggestions for unknown words, contradictions, what was left out.
        side: the location, where it is a side said right before the object: "left hippocampus".
    """

    concepts: Concepts | None
    keywords: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    side: str | None = None

    @property
    def keyword(self) -> str | None:
        """First keyword named, or None."""
        return self.keywords[0] if self.keywords else None


def parse_prompt(
    text: str, keywords: Sequence[str], synonyms: Mapping[str, str] | None = None
) -> ParsedPrompt:
    """Read a prompt.

    Case and punctuation do not matter. Keywords match longest first, in singular or plural; part of
    a name will do, see `name_keywords`. "no polyp" is a number of 0; other negations, measures in
    units, places on the body, parts of an object and contradictions are left out with a warning.

    Args:
        text: such as "2 small round polyps in the lower left".
        keywords: class keywords.
        synonyms: further words, each with the canonical word or the keyword it stands for.

    Returns:
        See `ParsedPrompt`. Words not understood are in `unknown_words`, never dropped silently.

    Raises:
        ValueError: without keywords, or for more than `MAX_CHARACTERS` characters.
    """
    keywords = tuple(keywords)
    _check(text, keywords)
    text, warnings = take_measures(normalize(text))
    own = {k.lower(): prompt_words(v) for k, v in (synonyms or {}).items()}
    words = [word for said in prompt_words(text) for word in own.get(said, [said])]
    phrases = take_phrases(find_mentions(complete_lists(words, keywords), keywords))
    items = [SYNONYMS.get(i, i) if isinstance(i, str) else i for i in phrases.items]
    negations = take_negations(items)
    reader = _Reader(negations.items)
    named, absent, remarks = _name(reader, negations, keywords)
    values = reader.values(len(named) > 1)
    if absent:
        if values:
            remarks.append("what is absent has no attributes; the other words are left out.")
        values = {"number": 0}
    warnings += [*phrases.warnings, *negations.warnings, *remarks, *reader.warnings]
    warnings += _explain(reader.unknown, keywords, own)
    spoken = named[0] if named else keywords[0] if values or len(keywords) == 1 else None
    concepts = None if spoken is None else Concepts(keyword=spoken, **values)
    side = reader.side if reader.side == values.get("location") else None
    return ParsedPrompt(concepts, tuple(named), tuple(reader.unknown), tuple(warnings), side)


def _check(text: str, keywords: Sequence[str]) -> None:
    """Raise ValueError without keywords or for an over-long text."""
    if not keywords:
        raise ValueError("expected at least one keyword, got none; give the network's classes")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"expected a prompt of at most {MAX_CHARACTERS} characters, got {len(text)}; shorten it"
        )


def _name(
    reader: _Reader, negations: Negations, keywords: tuple[str, ...]
) -> tuple[list[str], bool, list[str]]:
    """Keywords the prompt is about, whether it says that they are absent, and remarks."""
    named, used = name_keywords(reader.mentions, list(dict.fromkeys(reader.directions)), keywords)
    reader.directions = [word for word in reader.directions if word not in used]
    remarks = [f"{word!r} is read as {keyword!r}." for word, keyword in used.items()]
    if not named and reader.both and len(keywords) == 2:
        named = list(keywords)
    absent = [k for m in negations.absent for k in m.keywords]
    excluded = [k for m in negations.excluded for k in m.keywords]
    if absent or excluded:
        negated = list(dict.fromkeys([*absent, *excluded]))
        asked = named or ([] if absent else keywords)
        kept = [k for k in asked if k not in negated]
        if not kept:
            if named:
                remarks.append("the same is asked for and negated; the negation is used.")
            return negated, True, remarks
        named = kept
        remarks.append(f"only {', '.join(map(repr, kept))} is looked for.")
    elif negations.nothing and not named:
        return named, True, remarks
    elif negations.nothing:
        remarks.append("a negation is left out: a prompt says what to find.")
    return named, False, remarks


def _explain(unknown: Iterable[str], keywords: Sequence[str], own: Iterable[str]) -> list[str]:
    """A remark on every unknown word, with words that look like it."""
    words = {word for values in ATTRIBUTES.values() for value in values for word in value.split()}
    words |= {word for keyword in keywords for word in prompt_words(keyword)}
    vocabulary = sorted(words | set(own) | set(SYNONYMS) | set(NUMBER_WORDS))
    remarks = []
    for word in unknown:
        close = difflib.get_close_matches(word, vocabulary, n=3, cutoff=0.7)
        if word in vocabulary or (word.isdecimal() and int(word) <= MAX_NUMBER):
            remarks.append(f"{word!r} says nothing of the objects where it stands; leave it out.")
        elif word[0].isdecimal():
            remarks.append(f"{word!r} is no number of objects; expected 0 to {MAX_NUMBER}.")
        elif close:
            remarks.append(f"{word!r} is not in the vocabulary; did you mean {', '.join(close)}?")
        else:
            remarks.append(f"{word!r} is not in the vocabulary.")
    return remarks


class _Reader:
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
        self.side: str | None = None
        self.unknown: list[str] = []
        self.warnings: list[str] = []
        self.mentions = [item for item in items if isinstance(item, Mention)]
        for i, item in enumerate(items):
            if isinstance(item, Unread):
                self._note_unknown(item.text)
            elif isinstance(item, str):
                self._sort(item, items[i - 1] if i else None, items[i + 1 : i + 5])

    def _sort(self, word: str, before: str | Mention | None, after: Sequence) -> None:
        """Sort one word; its neighbours tell "left side" from "left", "the one" from "one"."""
        following = after[0] if after else None
        if self._take_side_or_level(word, after):
            return
        if word in DIMENSIONS:
            self.directions.append(word)
            if word in ATTRIBUTES["laterality"] and _is_of_a_thing(after):
                self.side = word
        elif word == "center":
            self.center = True
        elif word == "both":
            self.both = True
        elif word in NUMBER_WORDS:
            if word != "one" or not _is_pronoun(before, following):
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


def _is_of_a_thing(after: Sequence) -> bool:
    """Whether words that describe lead on to an object, as after "left" in "left small hippocampus"."""
    thing = next((x for x in after if not (isinstance(x, str) and describes(x))), None)
    return isinstance(thing, Mention) or thing in GENERIC_NOUNS


def _is_pronoun(before: str | Mention | None, following: str | Mention | None) -> bool:
    """Whether "one" between these stands for a thing ("the left one"), not for a number."""
    if isinstance(following, Mention) or following in GENERIC_NOUNS:
        return False
    counts = following is not None and describes(following)
    refers = isinstance(before, str) and (before in _PRONOUN_STARTS or describes(before))
    return refers and not counts
