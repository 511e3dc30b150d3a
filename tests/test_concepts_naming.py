"""Keywords are named in full, by a part of their name, or in a list that shares a noun."""

import pytest

from conceptseg.concepts import parse_prompt

HIPPOCAMPUS = ["anterior hippocampus", "posterior hippocampus"]
LIVER = ["liver", "liver tumor"]
ABDOMEN = ["liver", "left kidney", "right kidney"]


def said(text, keywords):
    """Attributes that a prompt says, which must hold no unknown word."""
    parsed = parse_prompt(text, keywords)
    assert parsed.unknown_words == ()
    return parsed.concepts.model_dump(exclude_none=True, exclude={"keyword"})


@pytest.mark.parametrize(
    ("text", "keywords", "expected"),
    [
        ("posterior hippocampus", HIPPOCAMPUS, (1,)),
        ("POSTERIOR-HIPPOCAMPI", HIPPOCAMPUS, (1,)),
        ("posterior hippocampus and anterior hippocampus", HIPPOCAMPUS, (1, 0)),
        ("hippocampus", HIPPOCAMPUS, (0, 1)),
        ("hippocampi", HIPPOCAMPUS, (0, 1)),
        ("hippocampuses", HIPPOCAMPUS, (0, 1)),
        ("both hippocampi", HIPPOCAMPUS, (0, 1)),
        ("both", HIPPOCAMPUS, (0, 1)),
        ("anterior hippocampus, the small hippocampus", HIPPOCAMPUS, (0,)),
        ("the left hippocampus", HIPPOCAMPUS, (0, 1)),
        ("anterior and posterior hippocampus", HIPPOCAMPUS, (0, 1)),
        ("the posterior, and the anterior hippocampi", HIPPOCAMPUS, (1, 0)),
        ("hippocampus, posterior", HIPPOCAMPUS, (1,)),
        ("dorsal hippocampus", HIPPOCAMPUS, (1,)),
        ("posterior", HIPPOCAMPUS, (1,)),
        ("small", HIPPOCAMPUS, ()),
        ("left", HIPPOCAMPUS, ()),
        ("kidneys", ABDOMEN, (1, 2)),
        ("left and right kidney", ABDOMEN, (1, 2)),
        ("liver and left kidney", ABDOMEN, (0, 1)),
        ("liver, left", ABDOMEN, (0,)),
        ("left", ABDOMEN, (1,)),
        ("gland", ["glands"], (0,)),
        ("polyp", ["polyp area"], (0,)),
        ("tumor", ["tumor", "tumor core"], (0,)),
        ("the tumor cores", ["tumor", "tumor core"], (1,)),
        ("tumor and tumor core", ["tumor", "tumor core"], (0, 1)),
        ("liver and liver tumor", LIVER, (0, 1)),
        ("liver, liver tumors", LIVER, (0, 1)),
        ("the liver or the liver tumor", LIVER, (0, 1)),
        ("left kidney and kidney tumor", ["kidney", "kidney tumor"], (0, 1)),
        ("liver and kidney tumor", ["liver tumor", "liver cyst", "kidney tumor"], (0, 2)),
        ("tumor of the liver", LIVER, (1,)),
        ("two small tumors located in the upper liver", LIVER, (1,)),
        ("tumors in the liver", ["liver tumor", "kidney tumor", "liver"], (0,)),
        ("core of the tumor", ["tumor", "tumor core"], (1,)),
        ("wall of the left ventricle", ["left ventricle wall", "left atrium wall"], (0,)),
        ("tumor and liver", LIVER, (1, 0)),
        ("nodule in the lung", ["lung", "nodule"], (1, 0)),
        ("ventricle", ["left ventricle cavity", "left ventricle wall", "left atrium"], (0, 1)),
        ("left ventricle", ["left ventricle cavity", "left ventricle wall", "left atrium"], (0, 1)),
    ],
)
def test_keywords_are_named_in_full_or_by_a_part(text, keywords, expected):
    assert parse_prompt(text, keywords).keywords == tuple(keywords[i] for i in expected)


def test_words_of_a_keyword_say_no_attribute():
    assert said("left ventricle", ["left ventricle", "left atrium"]) == {}
    assert said("white matter", ["white matter", "gray matter"]) == {}
    assert said("hippocampus, anterior", HIPPOCAMPUS) == {}
    assert said("both hippocampi", HIPPOCAMPUS) == {}


def test_a_direction_read_as_a_keyword_is_remarked():
    (warning,) = parse_prompt("posterior", HIPPOCAMPUS).warnings
    assert "'posterior' is read as 'posterior hippocampus'" in warning


def test_a_direction_is_a_place_where_there_is_one_keyword():
    assert said("left", ["left ventricle"]) == {"location": "left"}


def test_places_remain_places_beside_a_full_keyword():
    assert said("anterior hippocampus, located in the posterior left", HIPPOCAMPUS) == {
        "location": "posterior left"
    }
    assert said("left hippocampus", HIPPOCAMPUS) == {"location": "left"}


def test_a_name_said_in_two_keeps_its_attributes():
    assert said("2 small tumors in the upper left liver", LIVER) == {
        "number": 2,
        "size": "small",
        "location": "top left",
    }
    assert parse_prompt("no tumor in the liver", LIVER).concepts.number == 0
