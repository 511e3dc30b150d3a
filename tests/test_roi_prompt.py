"""A marked region becomes a prompt: measured in the slice or the photograph, with its concept token."""

import pytest
import torch
from small_network import small_network

from conceptseg.inferer import ConceptInferer
from conceptseg.roi_prompt import roi_embeddings

SIZE = 24


@pytest.fixture
def network(fixed_seed):
    """Three channels: colors, or a slice between its two neighbours."""
    return small_network(in_channels=3).eval()


def asked(network, image, roi, monkeypatch):
    """Embeddings of a region, and the sentences that became them."""
    sentences = []
    encode = network.encode_teacher

    def record(images, targets):
        sentences.extend(targets["prompt"])
        return encode(images, targets)

    monkeypatch.setattr(network, "encode_teacher", record)
    encoded = ConceptInferer(slice_axes=(2,), slice_context=1).encode(image, network)
    return encoded, roi_embeddings(image, roi, encoded, network), sentences


def test_a_region_of_a_volume_has_an_intensity_and_no_color(network, monkeypatch):
    volume = torch.rand(1, SIZE, SIZE, 5) / 10
    roi = torch.zeros(1, SIZE, SIZE, 5, dtype=torch.bool)
    roi[:, 9:15, 9:15, 2] = True
    volume[roi] += 0.8
    encoded, (embeddings,), (sentence,) = asked(network, volume, roi, monkeypatch)
    assert sentence.split(",")[0].endswith("bright polyp")
    assert "red" not in sentence
    student = torch.cat([batch.student for batch in encoded.stacks[0][1]])
    changed = (embeddings != student).any(dim=2).flatten()
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(("channels", "said"), [((0.8, 0.2, 0.2), "red"), ((0.8,) * 3, "bright")])
def test_a_region_of_a_photograph_has_a_color_where_its_channels_differ(
    network, monkeypatch, channels, said
):
    image = torch.full((3, SIZE, SIZE), 0.1)
    roi = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    roi[:, 9:15, 9:15] = True
    image[:, 9:15, 9:15] = torch.tensor(channels)[:, None, None]
    _, _, (sentence,) = asked(network, image, roi, monkeypatch)
    assert f"{said} polyp" in sentence


def test_a_region_on_another_grid_is_refused(network):
    image = torch.rand(3, SIZE, SIZE)
    encoded = ConceptInferer().encode(image, network)
    with pytest.raises(
        ValueError, match=r"expected regions of shape \(1, 24, 24\), got \(1, 8, 8\)"
    ):
        roi_embeddings(image, torch.zeros(1, 8, 8, dtype=torch.bool), encoded, network)
