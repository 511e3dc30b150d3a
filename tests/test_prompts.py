"""Tokenizer, concept tokens and the compact text encoder."""

import pytest
import torch

from conceptseg.concepts import Concepts, concepts_to_sentence
from conceptseg.prompts import CompactTextEncoder, ConceptTokenMapper, insert_concept_tokens

KEYWORDS = ("anterior hippocampus", "posterior hippocampus")


@pytest.fixture
def encoder(fixed_seed) -> CompactTextEncoder:
    return CompactTextEncoder(KEYWORDS, 16, 24, num_layers=1, num_heads=2).eval()


def test_every_canonical_word_is_known(encoder):
    concepts = Concepts(
        keyword=KEYWORDS[1],
        number=7,
        shape="oval",
        size="tiny",
        location="top left",
        level="middle",
    )
    tokens = encoder.tokenize([concepts_to_sentence(concepts)])
    assert tokens.unknown_words == [[]]
    assert bool(tokens.attention_mask.all())


def test_words_outside_the_vocabulary_are_named_in_order(encoder):
    tokens = encoder.tokenize(["small zebra", "striped anterior hippocampus, fluffy"])
    assert tokens.unknown_words == [["zebra"], ["striped", "fluffy"]]


def test_prompts_are_padded_and_padding_has_no_influence(encoder):
    short, long = "small", "2 small round anterior hippocampi"
    both = encoder.tokenize([short, long])
    alone = encoder.tokenize([short])
    assert both.input_ids.shape[1] > alone.input_ids.shape[1]
    together = encoder(both.input_ids, both.attention_mask)
    assert torch.allclose(together[:1], encoder(alone.input_ids, alone.attention_mask), atol=1e-5)
    assert together.shape == (2, 24) and (together[0] - together[1]).abs().max() > 1e-3


def test_placeholders_stand_where_asked_and_are_found_by_their_id(encoder):
    tokens = encoder.tokenize(["small"], num_placeholders=2)
    assert (tokens.input_ids == encoder.placeholder_id).sum() == 2
    plain = encoder.tokenize(["*"])
    assert (plain.input_ids == encoder.placeholder_id).sum() == 0  # a user cannot type it


@pytest.mark.parametrize("position", [0, 2, 4])
def test_concept_tokens_replace_the_placeholder_wherever_it_stands(position):
    ids = torch.full((1, 5), 9)
    ids[0, position] = 3
    embeddings, token = torch.zeros(1, 5, 4), torch.ones(1, 1, 4)
    result = insert_concept_tokens(embeddings, ids, 3, token)
    assert torch.equal(result[0, position], torch.ones(4)) and result.sum() == 4


def test_a_wrong_number_of_placeholders_is_refused():
    with pytest.raises(ValueError, match=r"expected 2 placeholders.*got \[1\]"):
        insert_concept_tokens(torch.zeros(1, 2, 4), torch.tensor([[3, 9]]), 3, torch.ones(1, 2, 4))


def test_a_concept_token_changes_the_embedding_and_a_masked_one_does_not(encoder):
    tokens = encoder.tokenize(["small"], num_placeholders=1)
    one, two = torch.zeros(1, 1, 16), torch.randn(1, 1, 16)
    mask = tokens.attention_mask
    first, second = (encoder(tokens.input_ids, mask, t) for t in (one, two))
    assert (first - second).abs().max() > 1e-3
    hidden = mask & (tokens.input_ids != encoder.placeholder_id)
    first, second = (encoder(tokens.input_ids, hidden, t) for t in (one, two))
    assert torch.allclose(first, second, atol=1e-6)


def test_gradients_reach_the_concept_token(encoder):
    tokens = encoder.tokenize(["small"], num_placeholders=1)
    token = torch.zeros(1, 1, 16, requires_grad=True)
    encoder(tokens.input_ids, tokens.attention_mask, token).square().sum().backward()
    assert token.grad.abs().sum() > 0


def test_weights_of_another_vocabulary_are_refused(encoder):
    other = CompactTextEncoder(("posterior hippocampus", "anterior hippokampus"), 16, 24, 1, 2)
    with pytest.raises(ValueError, match="this vocabulary"):
        encoder.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    "keywords",
    [KEYWORDS[::-1], ("anterior", "posterior hippocampus"), ("hippocampus", "anterior posterior")],
)
def test_weights_of_the_same_words_as_other_labels_are_refused(encoder, keywords):
    other = CompactTextEncoder((*keywords, *KEYWORDS), 16, 24, 1, 2)
    own = CompactTextEncoder((*KEYWORDS, *keywords), 16, 24, 1, 2)
    assert own.vocabulary == other.vocabulary
    with pytest.raises(ValueError, match=r"keywords \[.*\] in this order"):
        own.load_state_dict(other.state_dict())


def test_weights_from_before_keywords_had_a_checksum_load_and_then_have_one(encoder):
    state = encoder.state_dict()
    checksum = state.pop("keywords_checksum")
    other = CompactTextEncoder([k.upper() for k in KEYWORDS], 16, 24, num_layers=1, num_heads=2)
    assert other.load_state_dict(state).missing_keys == []
    assert "keywords_checksum" not in state
    assert torch.equal(other.state_dict()["keywords_checksum"], checksum)
    for name, value in state.items():
        assert torch.equal(other.state_dict()[name], value)


def test_a_prompt_too_long_is_refused(encoder):
    with pytest.raises(ValueError, match="at most 64 tokens, got"):
        encoder.tokenize(["small " * 80])


def test_mapper_gives_as_many_tokens_as_asked():
    assert ConceptTokenMapper(12, 16, num_tokens=3)(torch.rand(2, 12)).shape == (2, 3, 16)
