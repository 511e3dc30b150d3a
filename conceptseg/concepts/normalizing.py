"""A prompt's text before it is cut into words: spelling, fixed expressions and measures."""

from __future__ import annotations

import re

from .orientation import PLACE_WORDS
from .wording import IMAGE_NOUNS, NUMBER_WORDS, PLACE_NOUNS, SYNONYMS, UNITS

_NUMBER = rf"(?:\d+(?:[.,]\d+)?|{'|'.join(sorted(NUMBER_WORDS))})"
_UNIT = rf"(?:{'|'.join(sorted(UNITS, key=len, reverse=True))})"
_MEASURE = re.compile(
    rf"(?<!\w)(?:(?:above|below|under|over) )?{_NUMBER}(?: ?-?{_UNIT})?"
    rf"(?: ?(?:x|by|to|-) ?{_NUMBER})* ?-?{_UNIT}[23²³]?(?!\w)"
)
_PLACE = "|".join(sorted({*PLACE_WORDS, *(w for w, k in SYNONYMS.items() if k in PLACE_WORDS)}))
_OF_THE_IMAGE = rf" of the (?:{'|'.join(sorted(IMAGE_NOUNS))})\b"
_PLAIN = str.maketrans({"\u2019": "'", "\u00d7": "x", "\u2013": "-", "\u2212": "-"})  # typeset
_EXPRESSIONS = (
    (  # of a place in the image, not of an object: "near the center", but not "near the left kidney"
        rf"\b(?:near|around|close to|towards?) (?=(?:the )?(?:{_PLACE})(?:[ -](?:{_PLACE}))*"
        rf"(?: (?:{'|'.join(sorted(PLACE_NOUNS))}))?(?:\s*[,.;]|$|{_OF_THE_IMAGE}))",
        "in ",
    ),
    (rf"\b(left|right)[- ]hand(?= (?:{'|'.join(sorted(PLACE_NOUNS))})\b)", r"\1"),
    (r"\b\w+n't\b", "not"),
    (r"\b(?:other than|apart from|aside from|with the exception of)\b", "except"),
    (r"\b(?:nothing|not (?:\w+ )?anything) (?:but|except)\b", "only"),
    (r"\bnot only\b(.*?)\bbut(?: also)?\b", r"\1and"),
    (r"'s\b", ""),
)


def normalize(text: str) -> str:
    """Lower case, single spaces, without possessives; fixed expressions in plain words.

    Example::

        normalize("Don't show the left-hand side")  # "not show the left side"
    """
    text = " ".join(text.lower().translate(_PLAIN).split())
    for expression, words in _EXPRESSIONS:
        text = re.sub(expression, words, text)
    return text


def take_measures(text: str) -> tuple[str, list[str]]:
    """Take "below 5 mm" and its like out, so that it is no count and no place; also a warning for each.

    Args:
        text: of `normalize`.
    """
    measures = [match.group() for match in _MEASURE.finditer(text)]
    warnings = [f"{m!r} is left out: say tiny, small, medium or large instead." for m in measures]
    return _MEASURE.sub(" ", text), warnings
