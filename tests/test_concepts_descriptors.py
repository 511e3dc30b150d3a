"""Descriptors beside the attributes: vocabulary, sentence, prompts, and weights that stay valid."""

import pytest
import torch

from conceptseg.concepts import ATTRIBUTES, Concepts, concepts_to_sentence, parse_prompt
from conceptseg.concepts.descriptors import (
    QUESTIONS,
    descriptor_words,
    descriptors_of,
    paper_questions,
    take_descriptors,
)
from conceptseg.guidance import plan_prompt
from conceptseg.prompts import CompactTextEncoder
from conceptseg.readout import attribute_indices

LISTS = descriptors_of("endoscopy")
MODALITIES = sorted(QUESTIONS)


def test_descriptors_are_no_attributes_and_none_without_a_modality():
    assert all(not set(descriptors_of(m)) & set(ATTRIBUTES) for m in MODALITIES)
    assert descriptors_of(None) == {}
    assert set(paper_questions()) == {"number", "location", "shape", "size", "color"}


def test_an_encoder_built_without_keeps_the_vocabulary_and_one_built_with_refuses_its_weights():
    plain, empty = CompactTextEncoder(["polyp"]), CompactTextEncoder(["polyp"], descriptors={})
    rich = CompactTextEncoder(["polyp"], descriptors=LISTS)
    assert plain.vocabulary == empty.vocabulary
    empty.load_state_dict(plain.state_dict())
    assert set(rich.vocabulary) - set(plain.vocabulary) == set(descriptor_words(LISTS)) - set(
        plain.vocabulary
    )
    with pytest.raises(ValueError, match="vocabulary"):
        rich.load_state_dict(plain.state_dict())


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_descriptor_goes_into_the_sentence_and_back(modality):
    lists = descriptors_of(modality)
    encoder = CompactTextEncoder(["lesion area"], descriptors=lists)
    concepts = Concepts(keyword="lesion area", number=1, size="small", location="left")
    for name, values in lists.items():
        for value in values:
            sentence = concepts_to_sentence(concepts, descriptors={name: value})
            assert encoder.tokenize([sentence]).unknown_words == [[]]
            rest, said = take_descriptors(sentence, lists)
            assert said == {name: value}
            assert parse_prompt(rest, ["lesion area"]).concepts == concepts


def test_a_prompt_names_descriptors_with_or_without_their_name():
    plan = plan_prompt("a Smooth small polyp with a blurred margin", ["polyp"], descriptors=LISTS)
    assert plan.sentences == ["small polyp, smooth texture, blurred margin"] and not plan.warnings
    assert plan_prompt("vascular", ["polyp"], descriptors=LISTS).sentences == [
        "polyp, vascular pattern"
    ]


def test_a_network_without_descriptors_refuses_their_words_by_name():
    with pytest.raises(ValueError, match="'vascular'"):
        plan_prompt("vascular polyp", ["polyp"])


def test_an_unclear_descriptor_is_not_said():
    assert (
        concepts_to_sentence(Concepts(keyword="polyp"), descriptors={"texture": "unclear"})
        == "polyp"
    )


def test_indices_follow_the_attributes_and_then_the_descriptors():
    found = attribute_indices(Concepts(keyword="polyp", size="tiny"), {"margin": "blurred"}, LISTS)
    assert found[list(ATTRIBUTES).index("size")] == 0
    assert dict(zip(LISTS, found[len(ATTRIBUTES) :], strict=True)) == {
        "texture": -1, "margin": 1, "pattern": -1,
    }  # fmt: skip


def test_sentences_with_descriptors_have_embeddings_of_their_own():
    torch.manual_seed(0)
    encoder = CompactTextEncoder(["polyp"], 16, 24, descriptors=LISTS).eval()
    tokens = encoder.tokenize(["polyp, smooth texture", "polyp, granular texture"])
    first, second = encoder(tokens.input_ids, tokens.attention_mask)
    assert not torch.allclose(first, second)
