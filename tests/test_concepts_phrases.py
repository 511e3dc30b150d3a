"""Words that mean something else in a phrase than alone are not read as what they mean alone."""

import pytest

from conceptseg.concepts import Concepts, parse_prompt
from conceptseg.concepts.wording import BODY_PARTS, INDEX_NOUNS, ORGAN_PARTS, SIGNAL_NOUNS

POLYP, WOUND = ["polyp"], ["wound"]
HIPPOCAMPUS = ["anterior hippocampus", "posterior hippocampus"]


def said(text, keywords=POLYP):
    """Attributes that a prompt says."""
    parsed = parse_prompt(text, keywords)
    return parsed.concepts.model_dump(exclude_none=True, exclude={"keyword"})


@pytest.mark.parametrize("noun", sorted(INDEX_NOUNS))
@pytest.mark.parametrize("number", ["4", "four"])
def test_a_number_after_an_index_noun_is_unknown(noun, number):
    parsed = parse_prompt(f"small polyp in {noun} {number}", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", size="small")
    assert number in parsed.unknown_words
    assert any(f"{number!r} says nothing of the objects" in w for w in parsed.warnings)


@pytest.mark.parametrize(
    ("text", "keywords", "numbers"),
    [
        ("hippocampus in slice 20", HIPPOCAMPUS, ("20",)),
        ("liver segment 4", ["liver", "spleen"], ("4",)),
        ("segment 4 of the liver", ["liver", "spleen"], ("4",)),
        ("segment 4 lesion", ["lesion"], ("4",)),
        ("lesions in section 4 and 5", ["lesion"], ("4", "5")),
        ("lesion in zone 2-3", ["lesion"], ("2", "3")),
        ("tumor segment 3", ["tumor segment"], ("3",)),
        ("the polyp of slice 12", POLYP, ("12",)),
        ("in segment 2 polyps", POLYP, ("2",)),
        ("in the left segment 2", POLYP, ("2",)),
        ("in zone 2 polyps", POLYP, ("2",)),
        ("in the lower left region 2", POLYP, ("2",)),
    ],
)
def test_an_index_is_no_count_wherever_it_stands(text, keywords, numbers):
    parsed = parse_prompt(text, keywords)
    assert parsed.concepts is None or parsed.concepts.number is None
    assert parsed.unknown_words == numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("segment 2 polyps", 2),
        ("please segment two small polyps", 2),
        ("segment 1 polyp", 1),
        ("segment one polyp", 1),
        ("segment several polyps", 4),
        ("segment two of the polyps", 2),
        ("can you segment 2 polyps", 2),
        ("detect and segment 2 polyps", 2),
        ("I want to segment two polyps", 2),
        ("do segment 2 of them", 2),
        ("in the lower left region 2 small polyps", 2),
        ("in the upper left quadrant two polyps", 2),
        ("in the central zone 3 polyps", 3),
        ("polyps of small size, three of them", 3),
        ("in this image 2 polyps", 2),
        ("in the scan one polyp", 1),
        ("both polyps of the slice", 2),
    ],
)
def test_a_number_that_counts_objects_is_kept(text, number):
    parsed = parse_prompt(text, POLYP)
    assert parsed.concepts.number == number
    assert parsed.unknown_words == ()


def test_a_count_after_an_index_is_kept():
    assert said("in slice 12, two polyps") == {"number": 2}
    assert said("2 polyps in slice 12") == {"number": 2}


@pytest.mark.parametrize("part", sorted(BODY_PARTS))
def test_the_side_of_a_body_part_is_no_place(part):
    parsed = parse_prompt(f"small wound on the left {part}", WOUND)
    assert parsed.concepts == Concepts(keyword="wound", size="small")
    assert parsed.unknown_words == ()
    assert parsed.warnings == (
        f"'left {part}' is left out: it is a place on the body, not in the image.",
    )


@pytest.mark.parametrize(
    "phrase",
    [
        "left lower leg",
        "left and right foot",
        "right big toe",
        "middle finger",
        "mid thigh",
        "hand",
        "top of the left foot",
        "side of the foot",
        "upper part of the left lung",
        "lower third of the shin",
        "bottom left of the foot",
        "both feet",
    ],
)
def test_all_words_of_a_place_on_the_body_are_left_out_together(phrase):
    (warning,) = parse_prompt(f"wound on the {phrase}", WOUND).warnings
    assert f"'{phrase}' is left out" in warning
    assert said(f"wound on the {phrase}", WOUND) == {}


@pytest.mark.parametrize("part", sorted(ORGAN_PARTS))
def test_the_side_of_a_part_of_an_organ_is_unknown(part):
    parsed = parse_prompt(f"polyp of the right upper {part}", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp")
    assert parsed.unknown_words == (f"right upper {part}",)


def test_one_before_what_is_not_read_is_a_number():
    parsed = parse_prompt("one right lobe", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", number=1)
    assert parsed.unknown_words == ("right lobe",)


def test_words_beside_a_place_on_the_body_keep_their_meaning():
    assert said("small left foot wound", WOUND) == {"size": "small"}
    assert said("wound at the top, on the left hand", WOUND) == {"location": "top"}
    assert said("wound on the left-hand side of the image", WOUND) == {"location": "left"}
    assert said("wound on the left hand side", WOUND) == {"laterality": "left"}


def test_a_body_part_in_a_keyword_names_it_but_its_side_is_no_place():
    parsed = parse_prompt("ulcer on the left foot", ["foot ulcer", "burn"])
    assert parsed.concepts == Concepts(keyword="foot ulcer")
    assert "'left foot' is left out" in parsed.warnings[0]


def test_a_body_part_that_is_a_keyword_keeps_its_side():
    assert parse_prompt("left kidney", ["left kidney", "right kidney"]).keywords == ("left kidney",)
    parsed = parse_prompt("left lower kidney", ["left kidney", "right kidney"])
    assert parsed.concepts == Concepts(keyword="left kidney", location="bottom")
    assert said("left lung", ["lung"]) == {"location": "left"}


@pytest.mark.parametrize(
    "phrase",
    [
        "a dark center",
        "a black centre",
        "dark red middle",
        "the bright edge",
        "a red rim",
        "white borders",
        "a small dark center",
        "a red top",
        "a yellow lower edge",
        "a white upper part",
        "a yellow upper half",
        "a black area in the center",
    ],
)
def test_what_an_object_has_in_its_middle_or_at_its_border_is_no_place(phrase):
    parsed = parse_prompt(f"large polyp with {phrase}, in the lower left", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp", size="large", location="bottom left")
    assert parsed.unknown_words == ()
    (warning,) = parsed.warnings
    assert "it describes a part of the object" in warning


def test_several_parts_of_an_object_are_all_left_out():
    parsed = parse_prompt("polyp with a white center and a red rim and with black edges", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp")
    assert [w.split(" is ")[0] for w in parsed.warnings] == [
        "'white center'",
        "'red rim'",
        "'black edges'",
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("image with a dark polyp in the center", {"intensity": "dark", "location": "center"}),
        ("image with a red left polyp", {"color": "red", "location": "left"}),
        ("red polyp in the center", {"color": "red", "location": "center"}),
        ("polyp with a red color in the center", {"color": "red", "location": "center"}),
    ],
)
def test_a_place_of_the_object_itself_is_kept(text, values):
    assert said(text) == values


@pytest.mark.parametrize("noun", sorted(SIGNAL_NOUNS))
@pytest.mark.parametrize("word", ["intermediate", "moderate", "medium", "mid"])
def test_a_medium_signal_is_no_size(noun, word):
    parsed = parse_prompt(f"polyp with {word} {noun}", POLYP)
    assert parsed.concepts == Concepts(keyword="polyp")
    assert word in parsed.unknown_words


def test_a_medium_signal_is_recognised_over_other_words():
    assert said("hippocampus with intermediate T2 signal", ["hippocampus"]) == {}
    assert said("hippocampus with intermediate to high signal", ["hippocampus"]) == {}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("medium polyp with bright signal", {"size": "medium", "intensity": "bright"}),
        ("moderate dark polyp", {"size": "medium", "intensity": "dark"}),
        ("mid-sized polyp", {"size": "medium"}),
        ("polyp of medium size and bright signal", {"size": "medium", "intensity": "bright"}),
    ],
)
def test_a_medium_size_is_kept(text, values):
    assert said(text) == values


@pytest.mark.parametrize("place", ["left", "upper right", "part", "center"])
def test_mid_before_a_place_is_no_size(place):
    assert set(said(f"polyp in the mid {place}")) == {"location"}
    assert parse_prompt("polyp in the mid slice", POLYP).unknown_words == ("mid",)


@pytest.mark.parametrize("phrase", ["below the knee", "above the left ankle", "below the big toe"])
def test_a_relation_to_a_place_on_the_body_is_no_place_in_the_image(phrase):
    (warning,) = parse_prompt(f"small wound {phrase}", WOUND).warnings
    assert f"{phrase!r} is left out" in warning
    assert said(f"small wound {phrase}, on the left", WOUND) == {
        "size": "small",
        "location": "left",
    }


def test_a_relation_to_another_object_is_no_place_in_the_image():
    parsed = parse_prompt("polyp above the small ulcer", ["polyp", "ulcer"])
    assert parsed.keywords == ("polyp", "ulcer")
    assert parsed.concepts.location is None
    assert "'above the ulcer' is left out" in parsed.warnings[0]


@pytest.mark.parametrize("half", ["part", "half", "side", "portion"])
def test_halves_of_an_object_are_left_out_whole(half):
    parsed = parse_prompt(f"wound with a white upper {half} and a red lower {half}", WOUND)
    assert parsed.concepts == Concepts(keyword="wound")
    assert [w.split(" is ")[0] for w in parsed.warnings] == [
        f"'white upper {half}'",
        f"'red lower {half}'",
    ]
