"""Concepts become sentences of a closed vocabulary."""

import random

import pytest

from conceptseg.concepts import ATTRIBUTES, Concepts, canonical_vocabulary, concepts_to_sentence
from conceptseg.concepts.schema import split_words
from conceptseg.concepts.sentences import plural

FULL = Concepts(
    keyword="polyp",
    number=1,
    location="top left",
    shape="oval",
    size="small",
    color="red",
    intensity="bright",
    level="superior",
    laterality="left",
)


def test_a_sentence_says_every_known_attribute():
    assert concepts_to_sentence(FULL) == (
        "1 oval small red bright polyp, located in the top left of the image,"
        " on the left side, at the superior level"
    )


def test_unknown_attributes_are_left_out():
    assert concepts_to_sentence(Concepts(keyword="polyp")) == "polyp"
    assert concepts_to_sentence(Concepts(keyword="polyp", level="middle")) == (
        "polyp, at the middle level"
    )


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_dropped_attribute_is_as_good_as_unknown(name):
    unknown = FULL.model_copy(update={name: None})
    assert concepts_to_sentence(FULL, drop=[name]) == concepts_to_sentence(unknown)
    assert concepts_to_sentence(FULL, drop=[name]) != concepts_to_sentence(FULL)


def test_everything_may_be_dropped():
    assert concepts_to_sentence(FULL, drop=tuple(ATTRIBUTES)) == "polyp"


def test_an_unknown_attribute_cannot_be_dropped():
    with pytest.raises(ValueError, match=r"expected attributes.*got \['texture'\]; correct"):
        concepts_to_sentence(FULL, drop=["texture"])


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (0, "0 polyp"),
        (1, "1 polyp"),
        (2, "2 polyps"),
        (3, "3 polyps"),
        (4, "many polyps"),
        (17, "many polyps"),
    ],
)
def test_the_keyword_agrees_with_the_number(number, sentence):
    assert concepts_to_sentence(Concepts(keyword="polyp", number=number)) == sentence


def test_a_dropped_number_leaves_the_keyword_singular():
    assert concepts_to_sentence(Concepts(keyword="polyp", number=3), drop=["number"]) == "polyp"


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("polyp", "polyps"),
        ("foot ulcer", "foot ulcers"),
        ("anterior hippocampus", "anterior hippocampi"),
        ("metastasis", "metastases"),
        ("mass", "masses"),
        ("biopsy", "biopsies"),
        ("airway", "airways"),
        ("vertebra", "vertebrae"),
    ],
)
def test_plurals_are_those_of_the_field(keyword, expected):
    assert plural(keyword) == expected


def test_the_vocabulary_holds_every_word_of_every_sentence():
    keywords = ["polyp", "anterior hippocampus"]
    vocabulary = set(canonical_vocabulary(keywords))
    draw = random.Random(0)
    seen = set()
    for _ in range(500):
        values = {name: draw.choice([None, *closed]) for name, closed in ATTRIBUTES.items()}
        values["number"] = draw.choice([None, 0, 1, 2, 3, 4])
        concepts = Concepts(keyword=draw.choice(keywords), **values)
        seen.update(split_words(concepts_to_sentence(concepts)))
    assert seen == vocabulary


def test_the_vocabulary_is_sorted_lower_case_and_without_repetition():
    words = canonical_vocabulary(["Polyp", "polyp"])
    assert list(words) == sorted({word.lower() for word in words})
