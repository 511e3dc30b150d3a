"""Other words for the same sentence, so that a text encoder of open vocabulary learns to read them.

Every paraphrase is read back (`parse_prompt`) as the concepts of the sentence it came from. The compact
text encoder needs none: what users write is brought to its words before it sees it.
"""

from __future__ import annotations

import re

import numpy as np

from .naming import prompt_words
from .schema import ATTRIBUTES
from .wording import NUMBER_WORDS, SYNONYMS

_PLACES = ("located in the {} of the image", "in the {} of the image", "in the {}", "at the {}")
_PLACE = re.compile(r"located in the ([a-z ]+) of the image")
_OF_PATIENT = re.compile(r"on the \w+ side|at the \w+ level")  # such words are kept
_OF_ATTRIBUTES = {w for values in ATTRIBUTES.values() for v in values for w in v.split()}
# Words that mean an attribute wherever they stand ("middle" and "light" do not), by what they stand for.
_AMBIGUOUS = {"middle", "mid", "light", "average", "long", "minute", "tan", "above", "below"}
_OTHERS: dict[str, list[str]] = {}
for _word, _name in SYNONYMS.items():
    if _name in _OF_ATTRIBUTES and _word not in _AMBIGUOUS:
        _OTHERS.setdefault(_name, []).append(_word)
_NUMBERS = {str(n): w for w, n in NUMBER_WORDS.items() if w in ("one", "two", "three")}


def paraphrase(
    sentence: str, keyword: str, random: np.random.RandomState, share: float = 0.5
) -> str:
    """Say a sentence of `concepts_to_sentence` in other words.

    Args:
        sentence: to say.
        keyword: whose words stay as they are.
        random: draws the words.
        share: probability with which each word is exchanged.

    Returns:
        For example "one ovoid little polyp, in the upper left".
    """
    kept = set(prompt_words(keyword))
    place = _PLACES[random.randint(len(_PLACES))] if random.rand() < share else _PLACES[0]
    sentence = _PLACE.sub(lambda found: place.format(found[1]), sentence)

    def other(found: re.Match) -> str:
        word = found[0]
        others = [_NUMBERS[word]] if word in _NUMBERS else _OTHERS.get(word, [])
        if word in kept or not others or random.rand() >= share:
            return word
        return others[random.randint(len(others))]

    head, comma, clauses = sentence.partition(", ")
    if not _OF_PATIENT.search(clauses):
        clauses = re.sub(r"[a-z]+", other, clauses)
    return re.sub(r"[a-z0-9]+", other, head) + comma + clauses
