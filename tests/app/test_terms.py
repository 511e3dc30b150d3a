"""Names, colours and codes of labels stay the same for any subset of labels."""

import itertools

import numpy as np
import pytest
from lib import terms

KEYWORDS = ("anterior hippocampus", "posterior hippocampus", "polyp")


def test_neighbouring_labels_have_different_colours():
    colors = [tuple(terms.color_of(v)) for v in range(1, 6)]
    assert len(set(colors)) == 5
    assert all(0 <= part <= 255 for color in colors for part in color)


@pytest.mark.parametrize(
    ("name", "code", "category"),
    [
        ("posterior hippocampus", "5366008", "123037004"),  # SNOMED CT: hippocampus
        ("liver", "10200004", "123037004"),
        ("small polyp", "68496003", "49755003"),
        ("thing without a name", "123037004", "123037004"),
    ],
)
def test_codes_are_those_of_the_longest_known_ending(name, code, category):
    assert (terms.codes_of(name)[1].value, terms.codes_of(name)[0].value) == (code, category)


def test_every_subset_keeps_names_and_colours_of_its_values():
    info = terms.label_info(KEYWORDS)
    wanted = {entry["idx"]: (entry["name"], entry["color"]) for entry in info}
    for size in range(1, 4):
        for values in itertools.combinations(range(1, 4), size):
            mask = np.array([0, *values, values[-1]])
            found = terms.segments_present(mask, info, KEYWORDS)
            assert [f["segmentAttribute"]["labelID"] for f in found] == list(values)
            assert [(f["name"], f["color"]) for f in found] == [wanted[v] for v in values]


def test_client_names_without_values_count_by_position():
    given = [{"name": "first"}, {"name": "second", "color": [1, 2, 3, 255]}]
    (found,) = terms.segments_present(np.array([0, 2]), given, KEYWORDS)
    assert found["name"] == "second" and found["color"] == [1, 2, 3]


def test_value_nobody_names_gets_a_name():
    (found,) = terms.segments_present(np.array([7]), [], KEYWORDS)
    assert found["name"] == "label 7"


def test_empty_mask_has_no_segments():
    assert terms.segments_present(np.zeros(3), terms.label_info(KEYWORDS), KEYWORDS) == []
