"""Prompts become concepts; whatever is not understood is named."""

import itertools
import random

import pytest

from conceptseg.concepts import ATTRIBUTES, Concepts, concepts_to_sentence, parse_prompt
from conceptseg.concepts.parsing import MAX_CHARACTERS
from conceptseg.concepts.wording import FILLERS, IMAGE_NOUNS, MAX_NUMBER, SYNONYMS

POLYP = ["polyp"]
HIPPOCAMPUS = ["anterior hippocampus", "posterior hippocampus"]
ABDOMEN = ["liver", "left kidney", "right kidney"]
NUMBERS = (None, 0, 1, 2, 3, 4)  # 4 and more are "many"


def said(text, keywords=POLYP, **options):
    """Attributes that a prompt says, which must hold no unknown word."""
    parsed = parse_prompt(text, keywords, **options)
    assert parsed.unknown_words == ()
    return parsed.concepts.model_dump(exclude_none=True, exclude={"keyword"})


def every_value():
    """Concepts with one attribute each, in all its values."""
    for name, values in ATTRIBUTES.items():
        for value in NUMBERS[1:] if name == "number" else values:
            yield {name: value}


def sampled_values(count):
    """Concepts with attributes drawn from the closed lists."""
    draw = random.Random(0)
    for _ in range(count):
        values = {name: draw.choice([None, *closed]) for name, closed in ATTRIBUTES.items()}
        yield {**values, "number": draw.choice(NUMBERS)}


@pytest.mark.parametrize("keywords", [POLYP, ["wound"], HIPPOCAMPUS, ABDOMEN])
def test_concepts_survive_the_way_through_a_sentence(keywords):
    for values in itertools.chain(every_value(), sampled_values(250)):
        for keyword in keywords:
            concepts = Concepts(keyword=keyword, **values)
            sentence = concepts_to_sentence(concepts)
            parsed = parse_prompt(sentence, keywords)
            assert parsed.concepts == concepts, sentence
            assert parsed.keywords == (keyword,), sentence
            assert parsed.unknown_words == parsed.warnings == (), sentence


def test_a_free_prompt_is_understood():
    parsed = parse_prompt(
        "Please segment the TWO little, roundish reddish Polyps (upper left)!", POLYP
    )
    assert parsed.concepts == Concepts(
        keyword="polyp", number=2, size="small", shape="round", color="red", location="top left"
    )
    assert parsed.keyword == "polyp"
    assert parsed.unknown_words == parsed.warnings == ()


def test_every_synonym_means_something_on_its_own():
    for word in SYNONYMS:
        assert said(f"{word} polyp"), word


def test_synonyms_stand_for_canonical_values_or_places():
    known = {word for values in ATTRIBUTES.values() for value in values for word in value.split()}
    assert set(SYNONYMS.values()) <= known
    assert not known & FILLERS - {"middle"}


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("upper left", "top left"),
        ("lower right corner", "bottom right"),
        ("lowermost part", "bottom"),
        ("left-hand side of the image", "left"),
        ("lower left-hand corner", "bottom left"),
        ("right hand part", "right"),
        ("mid left", "left"),
        ("mid upper part", "top"),
        ("in the mid part", None),
        ("on the right side of this picture", "right"),
        ("middle left", "left"),
        ("centrally, in the middle", None),
        ("caudal and ventral", "inferior anterior"),
    ],
)
def test_places_have_many_names(text, location):
    parsed = parse_prompt(f"polyp, {text}", POLYP)
    assert parsed.concepts.location == (location or "center")


def test_side_and_level_of_the_patient_are_no_places():
    assert said("polyp on the left side") == {"laterality": "left"}
    assert said("polyp on the right-hand side") == {"laterality": "right"}
    assert said("polyp at the upper level") == {"level": "superior"}
    assert said("mid-level polyp") == {"level": "middle"}


@pytest.mark.parametrize("noun", sorted(IMAGE_NOUNS))
def test_a_side_of_the_image_is_a_place(noun):
    assert said(f"polyp on the left side of the {noun}") == {"location": "left"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("one polyp", 1),
        ("a single polyp", 1),
        ("2 polyps", 2),
        ("both polyps", 2),
        ("a pair of polyps", 2),
        ("several polyps", 4),
        ("17 polyps", 17),
        (f"{MAX_NUMBER} polyps", MAX_NUMBER),
        ("zero polyps", 0),
    ],
)
def test_numbers_are_read_from_digits_and_words(text, number):
    assert said(text) == {"number": number}


@pytest.mark.parametrize("text", ["the left one", "the one on the left", "polyp: that left one"])
def test_one_may_stand_for_a_thing(text):
    assert said(text) == {"location": "left"}


@pytest.mark.parametrize(
    "text", ["one, on the left", "one left polyp", "left: one polyp", "left, one lesion"]
)
def test_one_before_a_thing_is_a_number(text):
    assert said(text) == {"location": "left", "number": 1}


def test_one_before_a_description_is_a_number():
    assert said("left, one small polyp") == {"location": "left", "number": 1, "size": "small"}


@pytest.mark.parametrize("digits", [str(MAX_NUMBER + 1), "70414", "9" * 900, "2²", "1.5", "2,5"])
def test_digits_that_count_no_objects_are_reported(digits):
    parsed = parse_prompt(f"{digits} polyps", POLYP)
    assert parsed.concepts.number is None
    assert parsed.unknown_words == (digits,)
    assert f"expected 0 to {MAX_NUMBER}" in parsed.warnings[0]


@pytest.mark.parametrize(
    "measure",
    [
        "5 mm",
        "5mm",
        "2.5 cm",
        "5 x 3 mm",
        "5mm x 3mm",
        "five-mm",
        "10\u201315 mm",
        "20 %",
        "5 \u00d7 3 mm",
        "12 mm\u00b2",
        "3 millimeters",
        "below 5 mm",
        "above 10 mm",
        "under five-mm",
        "over 2 cm",
    ],
)
def test_measures_are_no_counts_and_are_named(measure):
    parsed = parse_prompt(f"small {measure} polyp", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", size="small")
    assert parsed.unknown_words == ()
    (warning,) = parsed.warnings
    assert "mm" in warning or "cm" in warning or "%" in warning or "millimeters" in warning
    assert "is left out" in warning


def test_above_and_below_without_a_measure_are_places():
    assert said("polyp above") == {"location": "top"}
    assert said("2 polyps of the lower part, 5 mm") == {"location": "bottom", "number": 2}


def test_a_count_beside_a_measure_is_kept():
    assert said("2 polyps of 5 mm in diameter") == {"number": 2}


def test_a_prompt_without_keyword_speaks_of_the_only_one():
    parsed = parse_prompt("small", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", size="small")
    assert parsed.keyword is None


def test_a_prompt_that_says_nothing_has_no_concepts_for_several_keywords():
    assert parse_prompt("show the image", HIPPOCAMPUS).concepts is None
    assert parse_prompt("", HIPPOCAMPUS).concepts is None


@pytest.mark.parametrize(
    ("text", "unknown", "suggestion"),
    [
        ("polip", "polip", "polyp"),
        ("elongatd polyp", "elongatd", "elongated"),
        ("polyp in the uper left", "uper", "upper"),
        ("hyperintens polyp", "hyperintens", "hyperintense"),
    ],
)
def test_a_misspelling_is_reported_with_suggestions(text, unknown, suggestion):
    parsed = parse_prompt(text, POLYP)
    assert parsed.unknown_words == (unknown,)
    assert f"{unknown!r} is not in the vocabulary; did you mean" in parsed.warnings[0]
    assert suggestion in parsed.warnings[0]


def test_unknown_words_come_once_each_in_reading_order():
    parsed = parse_prompt("zzyx polyp qwrt zzyx", POLYP)
    assert parsed.unknown_words == ("zzyx", "qwrt")
    assert parsed.warnings == (
        "'zzyx' is not in the vocabulary.",
        "'qwrt' is not in the vocabulary.",
    )


def test_opposite_places_cancel_out_with_a_warning():
    parsed = parse_prompt("polyp in the upper left and right", POLYP)
    assert parsed.concepts.location == "top"
    assert "'left' and 'right' at once" in parsed.warnings[0]
    assert said("polyp, left and right of the center") == {}
    parsed = parse_prompt("polyp on the left side and the right side", POLYP)
    assert parsed.concepts.laterality is None
    assert "laterality" in parsed.warnings[0]


def test_of_several_values_the_first_counts_with_a_warning():
    parsed = parse_prompt("red or pink polyp", POLYP)
    assert parsed.concepts.color == "red"
    assert "'red' is used" in parsed.warnings[0]


def test_a_shade_is_a_color_not_an_intensity():
    parsed = parse_prompt("light red polyp", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", color="red")
    assert "is read as 'red'" in parsed.warnings[0]


def test_a_place_outside_every_plane_is_left_out_with_a_warning():
    parsed = parse_prompt("superior anterior left polyp", POLYP)
    assert parsed.concepts.location is None
    assert "no place in a plane" in parsed.warnings[0]


def test_own_synonyms_stand_for_values_and_keywords():
    own = {"Adenoma": "polyp", "serpentine": "elongated", "front": "anterior hippocampus"}
    assert said("serpentine adenoma", synonyms=own) == {"shape": "elongated"}
    assert parse_prompt("adenoma", POLYP, own).keywords == ("polyp",)
    assert parse_prompt("front", HIPPOCAMPUS, own).keywords == ("anterior hippocampus",)


def test_possessives_and_typeset_apostrophes_are_understood():
    assert said("the polyp\u2019s top part") == {"location": "top"}


@pytest.mark.parametrize("text", ["", "   ", "?!", "polyp " * 100, "1 x " * 250, "no " * 300])
def test_odd_prompts_are_read(text):
    assert parse_prompt(text, POLYP).concepts.keyword == "polyp"


def test_an_over_long_prompt_is_refused():
    with pytest.raises(ValueError, match=r"at most 1000 characters, got 1001; shorten"):
        parse_prompt("a" * (MAX_CHARACTERS + 1), POLYP)


def test_a_prompt_needs_keywords():
    with pytest.raises(ValueError, match="expected at least one keyword, got none"):
        parse_prompt("small polyp", [])


@pytest.mark.parametrize(
    ("prompt", "location"),
    [
        ("tiny polyp near the centre", "center"),
        ("polyp close to the upper-left corner of the image", "top left"),
        ("polyp towards the bottom, red", "bottom"),
        ("near the right edge", "right"),
    ],
)
def test_near_a_place_of_the_image_is_in_it(prompt, location):
    parsed = parse_prompt(prompt, ["polyp"])
    assert parsed.concepts.location == location and parsed.unknown_words == ()


@pytest.mark.parametrize(
    "prompt", ["polyp near the left kidney", "kidney near the center of the polyp", "near polyp"]
)
def test_near_an_object_is_not_understood(prompt):
    assert "near" in parse_prompt(prompt, ["polyp", "kidney"]).unknown_words
