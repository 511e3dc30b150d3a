"""Weights to go on from: each label and word gets what the one of its name had."""

import pytest
import torch
from small_network import small_network

from conceptseg.start_weights import OtherNetworkError, load_start_weights

ONE, TWO = ("polyp",), ("wound", "polyp")


@pytest.fixture
def weights(tmp_path):
    """A file of weights for `keywords`, and the network they came from."""

    def save(keywords=ONE, **switches):
        torch.manual_seed(1)
        network = small_network(keywords, **switches)
        torch.nn.init.normal_(network.null_embedding)
        torch.save(network.state_dict(), tmp_path / "model.pt")
        return tmp_path / "model.pt", network

    return save


def word(network, text: str) -> torch.Tensor:
    """Embedding of a word."""
    encoder = network.text_encoder
    return encoder.word_embedding.weight[encoder.vocabulary.index(text)]


def test_the_same_labels_give_the_same_network(weights):
    path, before = weights()
    network = small_network(ONE)
    load_start_weights(network, path)
    image = torch.rand(1, 3, 24, 24)
    assert torch.equal(network.eval()(image), before.eval()(image))


def test_weights_inside_a_checkpoint_are_found(weights):
    path, before = weights()
    torch.save({"model": before.state_dict()}, path)
    network = small_network(ONE)
    load_start_weights(network, path)
    assert torch.equal(network.null_embedding, before.null_embedding)


def test_labels_and_words_are_matched_by_name(weights):
    path, before = weights(TWO)
    network = small_network(("polyp", "ulcer", "wound"))
    fresh = word(network, "ulcer").clone()
    load_start_weights(network, path, TWO)
    for new, old in ((0, 1), (2, 0)):
        assert torch.equal(network.null_embedding[new], before.null_embedding[old])
        keyword = network.student.keyword_embedding[new]
        assert torch.equal(keyword, before.student.keyword_embedding[old])
    assert torch.allclose(network.null_embedding[1], before.null_embedding.mean(dim=0))
    for text in ("polyp", "wounds", "small", "left"):
        assert torch.equal(word(network, text), word(before, text))
    assert torch.equal(word(network, "ulcer"), fresh)
    prompt = "1 small polyp, located in the left of the image"
    with torch.no_grad():
        assert torch.allclose(
            network.eval().encode_prompts([prompt]), before.eval().encode_prompts([prompt])
        )


def test_one_student_for_all_labels_stays_one(weights):
    path, before = weights(ONE, keyword_conditioned=False)
    network = small_network(TWO, keyword_conditioned=False)
    load_start_weights(network, path, ONE)
    assert torch.equal(network.student.keyword_embedding, before.student.keyword_embedding)


@pytest.mark.parametrize("known", [None, ("ulcer",), ("polyp", "wound")])
def test_keywords_that_are_not_those_of_the_weights_are_refused(weights, known):
    path, _ = weights(ONE)
    network = small_network(TWO)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="start_keywords"):
        load_start_weights(network, path, known)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("known", [None, TWO[::-1]])
def test_keywords_in_another_order_than_those_of_the_weights_are_refused(weights, known):
    path, _ = weights(TWO)
    with pytest.raises(ValueError, match=r"(?s)polyp.*wound.*another order.*start_keywords"):
        load_start_weights(small_network(TWO[::-1]), path, known)


def test_labels_move_to_another_order_by_name(weights):
    path, before = weights(TWO)
    network = small_network(TWO[::-1])
    load_start_weights(network, path, TWO)
    assert torch.equal(network.null_embedding, before.null_embedding.flip(0))
    own = network.text_encoder.keywords_checksum_of(TWO[::-1])
    assert int(network.state_dict()["text_encoder.keywords_checksum"]) == own


def test_weights_without_the_order_of_their_keywords_are_taken_as_given(weights):
    path, before = weights(TWO)
    state = torch.load(path, weights_only=True)
    del state["text_encoder.keywords_checksum"]
    torch.save(state, path)
    network = small_network(TWO[::-1])
    load_start_weights(network, path, TWO)
    assert torch.equal(network.null_embedding, before.null_embedding.flip(0))


def test_another_network_and_a_missing_file_are_refused(weights, tmp_path):
    path, _ = weights(ONE)
    with pytest.raises(OtherNetworkError, match="network_def") as caught:
        load_start_weights(small_network(ONE, channels=(8, 16, 16)), path)
    assert "size mismatch" not in str(caught.value) and len(str(caught.value)) < 400
    assert caught.value.__cause__ is None  # what is shown in the end is the root cause
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(OtherNetworkError):  # not one of other keywords
        load_start_weights(small_network(ONE), path)
    with pytest.raises(FileNotFoundError, match="start_weights"):
        load_start_weights(small_network(ONE), tmp_path / "none.pt")
