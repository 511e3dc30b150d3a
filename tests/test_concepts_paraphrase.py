"""Paraphrases: other words, same meaning, whatever the sentence."""

import itertools

import numpy as np
import pytest

from conceptseg.concepts import ATTRIBUTES, Concepts, concepts_to_sentence, parse_prompt
from conceptseg.concepts.orientation import grid_locations
from conceptseg.concepts.paraphrase import paraphrase

PLANES = (
    ("right", "bottom"),
    ("right", "anterior"),
    ("right", "superior"),
    ("anterior", "superior"),
)


@pytest.mark.parametrize("axes", PLANES)
def test_every_place_and_attribute_is_read_back_as_it_was_meant(axes):
    random = np.random.RandomState(0)
    tones = [{"color": c} for c in ATTRIBUTES["color"]] if "bottom" in axes else []
    tones += [{"intensity": i} for i in ATTRIBUTES["intensity"]]
    cycle = zip(
        grid_locations(axes) * 3,
        itertools.cycle(ATTRIBUTES["shape"]),
        itertools.cycle(ATTRIBUTES["size"]),
        itertools.cycle(tones),
        itertools.cycle([1, 2, 3, 4]),
        strict=False,
    )
    for location, shape, size, tone, number in cycle:
        concepts = Concepts(
            keyword="polyp", number=number, location=location, shape=shape, size=size, **tone
        )
        for _ in range(5):
            sentence = paraphrase(concepts_to_sentence(concepts), "polyp", random, 0.8)
            parsed = parse_prompt(sentence, ["polyp"])
            assert parsed.concepts == concepts and not parsed.unknown_words, sentence


def test_words_of_the_keyword_and_of_the_patients_side_stay():
    concepts = Concepts(
        keyword="anterior hippocampus", number=1, laterality="left", level="superior", size="small"
    )
    random = np.random.RandomState(1)
    said = {
        paraphrase(concepts_to_sentence(concepts), "anterior hippocampus", random, 1.0)
        for _ in range(10)
    }
    assert all("anterior hippocampus, on the left side, at the superior level" in s for s in said)
    assert not any("small " in s for s in said)


def test_a_share_of_zero_changes_nothing_and_the_seed_decides():
    sentence = "1 round small red polyp, located in the top left of the image"
    assert paraphrase(sentence, "polyp", np.random.RandomState(0), 0.0) == sentence
    same = [paraphrase(sentence, "polyp", np.random.RandomState(3), 0.5) for _ in range(2)]
    assert same[0] == same[1]
