"""Which of several objects a prompt means by their size."""

import pytest

from conceptseg.concepts.ranks import Rank, take_rank


@pytest.mark.parametrize(
    ("prompt", "rest", "rank"),
    [
        ("The Largest wound", "the wound", Rank(smallest=False)),
        ("smaller polyp in the top left", "polyp in the top left", Rank(smallest=True)),
        ("the 2 biggest polyps", "the polyps", Rank(smallest=False, count=2)),
        ("the tiniest three ulcers", "the ulcers", Rank(smallest=True, count=3)),
        ("largest of the two polyps", "of the two polyps", Rank(smallest=False)),
        ("three polyps, the largest", "three polyps, the", Rank(smallest=False)),
    ],
)
def test_the_rank_and_its_number_are_taken_out(prompt, rest, rank):
    found, read = take_rank(prompt)
    assert (" ".join(found.split()), read) == (rest, rank)


@pytest.mark.parametrize(
    "prompt",
    [
        "large polyp",
        "all but the largest polyp",
        "not the smaller polyp",
        "polyp larger than the other",
        "wound of the largest diameter",
        "the largest and the smallest polyp",
        "0 largest polyps",
        "enlarger",
    ],
)
def test_what_is_no_clear_rank_stays_in_the_prompt(prompt):
    assert take_rank(prompt) == (prompt, None)


def test_a_rank_says_itself():
    assert str(Rank(smallest=False)) == "the largest"
    assert str(Rank(smallest=True, count=2)) == "the 2 smallest"
