"""Negations never affirm: "no polyp" is a number of 0, the rest is left out and named."""

import pytest

from conceptseg.concepts import Concepts, parse_prompt
from conceptseg.concepts.wording import ABSENCES, NEGATIONS

POLYP = ["polyp"]
HIPPOCAMPUS = ["anterior hippocampus", "posterior hippocampus"]


@pytest.mark.parametrize("word", sorted(ABSENCES))
def test_an_absent_keyword_has_number_zero(word):
    parsed = parse_prompt(f"{word} polyps", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", number=0)
    assert parsed.keywords == ("polyp",)
    assert parsed.unknown_words == parsed.warnings == ()


@pytest.mark.parametrize("text", ["no lesion", "there is not one polyp", "don't show any polyp"])
def test_absence_has_many_words(text):
    parsed = parse_prompt(text, POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", number=0)
    assert parsed.unknown_words == ()


def test_what_is_absent_has_no_attributes():
    parsed = parse_prompt("no small polyp in the top left", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", number=0)
    assert "'small'" in parsed.warnings[0]
    assert "other words are left out" in parsed.warnings[1]


@pytest.mark.parametrize("word", sorted(NEGATIONS))
def test_a_negated_attribute_is_never_affirmed(word):
    parsed = parse_prompt(f"oval polyp, {word} red or pink, in the top left", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", shape="oval", location="top left")
    (warning,) = parsed.warnings
    assert f"'{word} red or pink' is left out" in warning


def test_a_negation_of_nothing_known_is_named():
    parsed = parse_prompt("polyp without bleeding", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp")
    assert parsed.unknown_words == ("bleeding",)
    assert "'without' is left out" in parsed.warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        "all except the posterior hippocampus",
        "not the posterior hippocampus",
        "anterior hippocampus but not posterior hippocampus",
        "anterior hippocampus without posterior hippocampus",
        "hippocampus excluding the posterior hippocampus",
        "all but the posterior hippocampus",
        "any but the posterior hippocampus",
        "Everything but the posterior hippocampus!",
        "everything except for the posterior hippocampus",
        "all structures but the posterior hippocampus",
        "all hippocampi but the posterior hippocampus",
        "everything apart from the posterior hippocampus",
    ],
)
def test_an_excluded_keyword_leaves_the_others(text):
    parsed = parse_prompt(text, HIPPOCAMPUS)
    assert parsed.keywords == ("anterior hippocampus",)
    assert parsed.concepts == Concepts(keyword="anterior hippocampus")
    assert "only 'anterior hippocampus'" in parsed.warnings[-1]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("all but the liver", ["left kidney", "right kidney"]),
        ("all but the kidneys", ["liver"]),
        ("everything but the liver and the left kidney", ["right kidney"]),
        ("all except the liver, the left kidney", ["right kidney"]),
        ("liver and left kidney, excluding the left kidney and right kidney", ["liver"]),
    ],
)
def test_an_exception_covers_its_whole_list(text, kept):
    parsed = parse_prompt(text, ["liver", "left kidney", "right kidney"])
    assert list(parsed.keywords) == kept
    assert parsed.unknown_words == ()


def test_attributes_between_all_and_but_stay_with_what_is_kept():
    parsed = parse_prompt("all small structures but the liver", ["liver", "spleen"])
    assert parsed.concepts == Concepts(keyword="spleen", size="small")


@pytest.mark.parametrize("text", ["all but the polyp", "everything except the polyp"])
def test_all_but_the_only_keyword_is_nothing(text):
    assert parse_prompt(text, POLYP).concepts == Concepts(keyword="polyp", number=0)


@pytest.mark.parametrize("text", ["all polyps but small ones", "all but one polyp"])
def test_all_but_an_attribute_never_affirms_it(text):
    parsed = parse_prompt(text, POLYP)
    assert parsed.concepts == Concepts(keyword="polyp")
    assert "is left out: a prompt says what to find" in parsed.warnings[0]


@pytest.mark.parametrize(
    "text",
    ["nothing but the liver", "don't show anything but the liver", "nothing except the liver"],
)
def test_nothing_but_one_class_asks_for_that_class(text):
    parsed = parse_prompt(text, ["liver", "spleen"])
    assert parsed.keywords == ("liver",)
    assert parsed.concepts == Concepts(keyword="liver")


@pytest.mark.parametrize(
    "text", ["small but red polyp", "any red but small polyp", "all polyps but only the small red"]
)
def test_another_but_joins_what_is_said(text):
    parsed = parse_prompt(text, POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", size="small", color="red")
    assert parsed.warnings == ()


def test_no_of_one_class_says_that_this_one_is_absent():
    parsed = parse_prompt("no posterior hippocampus", HIPPOCAMPUS)
    assert parsed.concepts == Concepts(keyword="posterior hippocampus", number=0)
    assert parsed.keywords == ("posterior hippocampus",)


def test_asking_for_what_is_negated_is_a_contradiction():
    parsed = parse_prompt("a polyp, no polyp", POLYP)
    assert parsed.concepts.number == 0
    assert "asked for and negated" in parsed.warnings[0]
