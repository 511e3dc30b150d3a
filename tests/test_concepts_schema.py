"""Concepts hold values of closed lists only; directions of axes become names of places."""

import pickle

import pytest
from pydantic import ValidationError

from conceptseg.concepts import ATTRIBUTES, LOCATIONS, Concepts, number_bin
from conceptseg.concepts.orientation import check_axes, grid_locations, location_word
from conceptseg.concepts.schema import split_words

PHOTO = ("right", "bottom")


def test_only_the_keyword_is_required():
    said = Concepts(keyword="polyp").model_dump()
    assert said.pop("keyword") == "polyp"
    assert set(said.values()) == {None}


def test_attributes_list_the_fields_of_concepts():
    assert {"keyword", *ATTRIBUTES} == set(Concepts.model_fields)


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name != "number"])
def test_every_closed_value_is_accepted_and_no_other(name):
    for value in ATTRIBUTES[name]:
        assert getattr(Concepts(keyword="polyp", **{name: value}), name) == value
    with pytest.raises(ValidationError, match=name):
        Concepts(keyword="polyp", **{name: "mouth"})


@pytest.mark.parametrize(
    "changes", [{"number": -1}, {"texture": "smooth"}, {"keyword": "--"}, {"keyword": ""}]
)
def test_impossible_concepts_are_refused(changes):
    with pytest.raises(ValidationError):
        Concepts(**{"keyword": "polyp", **changes})


def test_a_keyword_without_words_is_refused_with_advice():
    with pytest.raises(ValidationError, match=r"expected a keyword.*got '!'.*name the class"):
        Concepts(keyword="!")


def test_concepts_cannot_be_changed():
    concepts = Concepts(keyword="polyp", number=1)
    with pytest.raises(ValidationError, match="frozen"):
        concepts.number = 2


def test_concepts_and_attributes_survive_pickling():
    concepts = Concepts(keyword="polyp", location="top left")
    assert pickle.loads(pickle.dumps((concepts, ATTRIBUTES))) == (concepts, ATTRIBUTES)


def test_numbers_fall_into_five_bins():
    bins = [number_bin(number) for number in (0, 1, 2, 3, 4, 70414)]
    assert bins == ["0", "1", "2", "3", "many", "many"]


def test_a_negative_number_has_no_bin():
    with pytest.raises(ValueError, match=r"expected.*>= 0, got -1; use None"):
        number_bin(-1)


def test_words_are_split_at_everything_but_letters_and_digits():
    assert split_words("T2-weighted, LEFT_hand (small)") == [
        "t2",
        "weighted",
        "left",
        "hand",
        "small",
    ]


def test_the_grids_of_photographs_and_slices_make_up_the_locations():
    planes = [
        PHOTO,
        ("right", "anterior"),
        ("right", "superior"),
        ("anterior", "superior"),
    ]
    names = [name for plane in planes for name in grid_locations(plane)]
    assert set(names) == set(LOCATIONS)
    assert len(LOCATIONS) == len(set(LOCATIONS))
    assert all(len(set(grid_locations(plane))) == 9 for plane in planes)


@pytest.mark.parametrize(
    ("centroid", "axes", "name"),
    [
        ((0.1, 0.1), PHOTO, "top left"),
        ((0.9, 0.5), PHOTO, "right"),
        ((0.5, 0.5), PHOTO, "center"),
        ((0.9, 0.1), ("bottom", "right"), "bottom left"),
        ((0.1, 0.9), ("left", "posterior"), "posterior right"),
        ((0.1, 0.9), ("posterior", "superior"), "superior anterior"),
        ((1 / 3, 2 / 3), PHOTO, "center"),
    ],
)
def test_a_point_is_named_by_its_cell(centroid, axes, name):
    assert location_word(centroid, axes) == name


@pytest.mark.parametrize(
    ("axes", "dims", "message"),
    [
        (("right",), None, "expected 2 or 3 axes"),
        (("right", "bottom"), 3, "expected 3 axes"),
        (("right", "down"), None, r"got \['down'\]"),
        (("right", "left"), None, "different dimensions"),
        (("top", "inferior"), None, "different dimensions"),
        (("anterior", "bottom"), None, "top/bottom together with left/right"),
        (("right", "anterior", "top"), None, "top/bottom together with left/right"),
    ],
)
def test_axes_that_do_not_fit_are_refused(axes, dims, message):
    with pytest.raises(ValueError, match=message):
        check_axes(axes, dims)
