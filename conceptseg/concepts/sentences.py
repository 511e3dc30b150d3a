"""Concepts to a sentence, and the words such sentences are made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from .descriptors import descriptor_clauses
from .schema import ATTRIBUTES, Concepts, number_bin, split_words
from .wording import IRREGULAR_PLURALS

_ADJECTIVES = ("number", "shape", "size", "color", "intensity")  # in the order of the paper
_CLAUSES = {
    "location": "located in the {} of the image",
    "laterality": "on the {} side",
    "level": "at the {} level",
}


def plural(keyword: str) -> str:
    """Plural of a keyword: its last word changes.

    Example::

        plural("anterior hippocampus")  # "anterior hippocampi"
    """
    stem, space, word = keyword.rpartition(" ")
    lower = word.lower()
    if lower in IRREGULAR_PLURALS:
        word = IRREGULAR_PLURALS[lower]
    elif lower.endswith("is") and len(lower) > 3:
        word = word[:-2] + "es"
    elif lower.endswith(("s", "x", "z", "ch", "sh")):
        word += "es"
    elif lower.endswith("y") and lower[-2:-1] not in tuple("aeiou"):
        word = word[:-1] + "ies"
    else:
        word += "s"
    return stem + space + word


def concepts_to_sentence(
    concepts: Concepts,
    drop: Collection[str] = (),
    descriptors: Mapping[str, str] | None = None,
) -> str:
    """The sentence that says the known attributes.

    Four objects or more are "many", so that the words form a closed vocabulary.

    Args:
        concepts: what to say; unknown attributes are left out.
        drop: attributes to leave out although they are known.
        descriptors: descriptor -> value to say at the end, for a network that knows them.

    Returns:
        For example "1 oval small red polyp, located in the top left of the image".

    Raises:
        ValueError: if `drop` names something that is no attribute.
    """
    unknown = set(drop) - ATTRIBUTES.keys()
    if unknown:
        raise ValueError(
            f"expected attributes out of {list(ATTRIBUTES)} in drop, got {sorted(unknown)};"
            " correct the name"
        )
    said = {name: None if name in drop else getattr(concepts, name) for name in ATTRIBUTES}
    words = [str(said[name]) for name in _ADJECTIVES if said[name] is not None]
    keyword = concepts.keyword
    if said["number"] is not None:
        words[0] = number_bin(said["number"])
        keyword = plural(keyword) if said["number"] > 1 else keyword
    clauses = [form.format(said[name]) for name, form in _CLAUSES.items() if said[name]]
    clauses += descriptor_clauses(descriptors or {})
    return ", ".join([" ".join([*words, keyword]), *clauses])


def canonical_vocabulary(keywords: Sequence[str]) -> tuple[str, ...]:
    """Every word `concepts_to_sentence` can produce for these keywords, in lower case, sorted.

    Args:
        keywords: class keywords, one per label.
    """
    texts = [value for values in ATTRIBUTES.values() for value in values]
    texts += [form.format("") for form in _CLAUSES.values()]
    texts += [form for keyword in keywords for form in (keyword, plural(keyword))]
    return tuple(sorted({word for text in texts for word in split_words(text)}))
