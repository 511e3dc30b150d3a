"""Oracle prompts: a sentence per slice and label, of the reference in that slice alone."""

from types import SimpleNamespace

import pytest
import torch

from conceptseg.oracle import oracle_embeddings


class _Network:
    """Keeps the sentences of each call; the embedding of the n-th is (n,)."""

    keywords = ("front", "back")
    backbone = SimpleNamespace(divisor=4)

    def __init__(self):
        self.asked = []

    def encode_prompts(self, sentences):
        self.asked.append(list(sentences))
        return torch.arange(len(sentences)).float()[:, None]


@pytest.fixture
def network():
    return _Network()


@pytest.fixture
def photo():
    """A picture with a red box at the top right, label 2."""
    image, label = torch.full((3, 12, 8), 0.2), torch.zeros(1, 12, 8)
    image[0] = 0.9
    label[0, 9:12, 0:2] = 2
    return image, label


def encoded(*axes):
    return SimpleNamespace(stacks=[(axis, [], ()) for axis in axes])


def test_every_slice_says_what_it_shows_itself_in_the_words_of_its_plane(network):
    label = torch.zeros(1, 12, 8, 6)  # RAS
    label[0, 9:12, 6:8, 1:3] = 1
    label[0, 0:2, 0:3, 4] = 2
    image = torch.rand(label.shape)
    attributes = ["number", "location"]
    embeddings = oracle_embeddings(image, label, encoded(2, 1), network, attributes=attributes)
    none = ["0 front", "0 back"]  # the labels of a slice stand side by side, the slices in order
    front = ["1 front, located in the {} of the image", "0 back"]
    back = ["0 front", "1 back, located in the {} of the image"]

    def at(place, pair):
        return [sentence.format(place) for sentence in pair]

    axial = [*none, *at("anterior right", front) * 2, *none, *at("posterior left", back), *none]
    coronal = [*at("superior left", back) * 3, *none * 3, *at("right", front) * 2]
    assert network.asked == [axial, coronal]
    assert [tuple(e.shape) for e in embeddings] == [(6, 2, 1), (8, 2, 1)]
    assert embeddings[0].flatten().tolist() == list(range(12))


def test_a_photograph_says_its_colour_and_the_words_of_its_axes(network, photo):
    (embedding,) = oracle_embeddings(*photo, encoded(None), network)
    assert embedding.shape == (1, 2, 1)
    red = "1 oval medium red back, located in the top right of the image"
    assert network.asked == [["0 front", red]]
    oracle_embeddings(*photo, encoded(None), network, ("left", "top"), ["location"])
    assert network.asked[1] == ["front", "back, located in the bottom left of the image"]


def test_what_is_measured_is_the_padded_image_that_the_network_sees(network, photo):
    oracle_embeddings(*photo, encoded(None), network, minimum_size=40)
    assert network.asked[0][1] == "1 oval tiny red back, located in the center of the image"
