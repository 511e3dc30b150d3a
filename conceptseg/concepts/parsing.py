"""A prompt to concepts: closed vocabulary with synonyms; what is not understood is named."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .naming import complete_lists, find_mentions, join_names, name_keywords, prompt_words
from .negation import Negations, apply_negations, take_negations
from .normalizing import normalize, take_measures
from .phrases import take_phrases
from .schema import ATTRIBUTES, Concepts
from .sorting import Reader
from .wording import MAX_NUMBER, NUMBER_WORDS, SYNONYMS

MAX_CHARACTERS = 1000  # of a prompt; a longer text is a document


@dataclass(frozen=True)
class ParsedPrompt:
    """What was read from a prompt.

    Attributes:
        concepts: the attributes said, for the first keyword (or the only one there is); None when
            no keyword is named, no attribute said and there are several keywords.
        keywords: all keywords named, in the order of the prompt.
        unknown_words: words outside the vocabulary, in reading order.
        warnings: readable remarks: suggestions for unknown words, contradictions, what was left out.
        side: the side in the location, where it is said right before an object: "left hippocampus".
        sided: keywords of the objects it is said before; none before a word such as "lesion".
    """

    concepts: Concepts | None
    keywords: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    side: str | None = None
    sided: tuple[str, ...] = ()

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
    negations = take_negations(join_names(items))
    reader = Reader(negations.items)
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
    side, sided = reader.own_side(values.get("location"))
    return ParsedPrompt(concepts, tuple(named), tuple(reader.unknown), tuple(warnings), side, sided)


def _check(text: str, keywords: Sequence[str]) -> None:
    """Raise ValueError without keywords or for an over-long text."""
    if not keywords:
        raise ValueError("expected at least one keyword, got none; give the network's classes")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"expected a prompt of at most {MAX_CHARACTERS} characters, got {len(text)}; shorten it"
        )


def _name(
    reader: Reader, negations: Negations, keywords: tuple[str, ...]
) -> tuple[list[str], bool, list[str]]:
    """Keywords the prompt is about, whether it says that they are absent, and remarks."""
    named, used = name_keywords(reader.mentions, list(dict.fromkeys(reader.directions)), keywords)
    reader.directions = [word for word in reader.directions if word not in used]
    if not named and reader.both and len(keywords) == 2:
        named = list(keywords)
    asked, absent, remarks = apply_negations(negations, named, keywords)
    return asked, absent, [f"{w!r} is read as {k!r}." for w, k in used.items()] + remarks


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
