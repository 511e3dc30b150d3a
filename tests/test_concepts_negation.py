"""Negations never affirm: "no polyp" is a number of 0, the rest is left out and named."""

import pytest

from conceptseg.concepts import Concepts, parse_prompt
from conceptseg.concepts.wording import ABSENCES, NEGATIONS

POLYP = ["polyp"]
HIPPOCAMPUS = ["anterior hippocampus", "posterior hippocampus"]


def warnings_where_alone(text, keywords, kept):
    """Check that a prompt asks for one keyword and says no more of it; its warnings."""
    parsed = parse_prompt(text, keywords)
    assert parsed.keywords == (kept,)
    assert parsed.concepts == Concepts(keyword=kept)
    return parsed.warnings


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
    warnings = warnings_where_alone(text, HIPPOCAMPUS, "anterior hippocampus")
    assert "only 'anterior hippocampus'" in warnings[-1]


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


ORGANS = ["liver", "spleen", "kidney"]


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("no polyp or ulcer", ["polyp", "ulcer"]),
        ("without polyp or ulcer", ["polyp", "ulcer"]),
        ("neither polyp nor ulcer", ["polyp", "ulcer"]),
        ("image without a polyp and an ulcer", ["polyp", "ulcer"]),
        ("don't show the polyps or the ulcers", ["polyp", "ulcer"]),
        ("no polyps or small ulcers", ["polyp", "ulcer"]),
        ("no liver, spleen or kidney", ORGANS),
        ("no liver, spleen nor the kidney", ORGANS),
        ("no liver or spleen", ORGANS),
    ],
)
def test_a_list_is_absent_as_a_whole(text, keywords):
    parsed = parse_prompt(text, keywords)
    assert parsed.concepts.number == 0
    assert parsed.unknown_words == ()


@pytest.mark.parametrize(
    "text",
    [
        "kidney but not the liver or the spleen",
        "kidney without liver and spleen",
        "kidney without liver, spleen and liver",
        "kidney, not liver nor spleen",
        "kidney but no liver or spleen",
        "kidney, not the liver and the spleen",
        "kidney, but not the small liver or the left spleen",
        "everything without the liver and the spleen",
    ],
)
def test_what_is_asked_for_beside_a_negated_list_stays_alone(text):
    warnings = warnings_where_alone(text, ORGANS, "kidney")
    assert "only 'kidney' is looked for." in warnings


@pytest.mark.parametrize(
    "text", ["no liver, spleen", "no liver and the spleen", "spleen, no liver"]
)
def test_what_no_conjunction_of_a_negation_joins_is_asked_for(text):
    assert parse_prompt(text, ORGANS).keywords == ("spleen",)


@pytest.mark.parametrize(
    ("text", "kept", "left_out"),
    [
        ("all but the left kidney", ("liver", "spleen"), "left"),
        ("all except small kidneys", ("liver", "spleen"), "small"),
        ("spleen but not the left kidney", ("spleen",), "left"),
        ("all but the kidney on the left side", ("liver", "spleen"), "left"),
        ("all but the liver and the left kidney", ("spleen",), "left"),
    ],
)
def test_a_described_exception_is_left_out_without_its_description(text, kept, left_out):
    parsed = parse_prompt(text, ORGANS)
    assert parsed.keywords == kept
    assert parsed.concepts == Concepts(keyword=kept[0])
    assert f"is read without {left_out!r}" in parsed.warnings[0]


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("right kidney, not the left kidney", "right"),
        ("not the left kidney but the right kidney", "right"),
    ],
)
def test_a_described_exception_does_not_exclude_what_is_asked_for(text, side):
    parsed = parse_prompt(text, ORGANS)
    assert parsed.keywords == ("kidney",)
    assert parsed.concepts == Concepts(keyword="kidney", location=side)
    assert "is left out: a prompt says what to find" in parsed.warnings[0]


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("all polyps except the one on the left", POLYP),
        ("all but the polyp in the lower left corner", POLYP),
        ("all but the left hippocampus", HIPPOCAMPUS),
    ],
)
def test_the_place_of_an_exception_is_not_asked_for(text, keywords):
    parsed = parse_prompt(text, keywords)
    assert parsed.concepts is None or parsed.concepts == Concepts(keyword=keywords[0])
    assert "is left out: a prompt says what to find" in parsed.warnings[0]


@pytest.mark.parametrize(
    "text", ["no polyp at all, but an ulcer", "no polyp in any slice but an ulcer"]
)
def test_but_after_a_negation_joins_what_is_asked_for(text):
    assert parse_prompt(text, ["polyp", "ulcer"]).keywords == ("ulcer",)


@pytest.mark.parametrize(
    "text", ["not only polyps but ulcers", "not only a polyp, but also an ulcer"]
)
def test_not_only_negates_nothing(text):
    assert parse_prompt(text, ["polyp", "ulcer"]).keywords == ("polyp", "ulcer")
