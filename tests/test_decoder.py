"""PyramidDecoder: shapes, what conditions it, and what its switches leave out."""

import pytest
import torch

from conceptseg.decoder import FiLM, PyramidDecoder

CHANNELS = (8, 12, 16)


@pytest.fixture(autouse=True)
def _seed(fixed_seed):
    """Every test starts from the same random state."""


def pyramid(batch=2, size=(32, 24), stride=1):
    """Random maps, finest first."""
    return [
        torch.rand(batch, c, size[0] // 2**i // stride, size[1] // 2**i // stride)
        for i, c in enumerate(CHANNELS)
    ]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("join", ["concat", "add"])
def test_logits_have_image_resolution_and_pooled_the_coarsest_channels(batch, stride, join):
    decoder = PyramidDecoder(CHANNELS, 10, stride=stride, join=join)
    logits, pooled = decoder(pyramid(batch, stride=stride), torch.rand(batch, 10))
    assert logits.shape == (batch, 1, 32, 24)
    assert pooled.shape == (batch, decoder.pooled_channels) == (batch, 16)


@pytest.mark.parametrize("map_size", [0, 4])
def test_the_embedding_changes_the_mask(map_size):
    decoder = PyramidDecoder(CHANNELS, 10, map_size=map_size).eval()
    features = pyramid(1)
    first, second = (decoder(features, torch.randn(1, 10))[0] for _ in range(2))
    assert (first - second).abs().max() > 1e-4


def test_each_item_of_a_batch_follows_its_own_embedding():
    decoder = PyramidDecoder(CHANNELS, 10).eval()
    features, embedding = pyramid(2), torch.randn(2, 10)
    together, _ = decoder(features, embedding)
    alone, _ = decoder([f[1:] for f in features], embedding[1:])
    assert torch.allclose(together[1:], alone, atol=1e-5)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("join", ["concat", "add"])
def test_the_finest_level_is_seen_only_with_the_skip(skip, join):
    decoder = PyramidDecoder(CHANNELS, 10, skip=skip, join=join).eval()
    features, embedding = pyramid(1), torch.randn(1, 10)
    before, _ = decoder(features, embedding)
    after, _ = decoder([torch.rand_like(features[0]), *features[1:]], embedding)
    assert torch.equal(before, after) is not skip
    coarse, _ = decoder([features[0], torch.rand_like(features[1]), features[2]], embedding)
    assert not torch.equal(before, coarse)


def test_the_concept_map_is_read_from_the_embedding_alone():
    decoder = PyramidDecoder(CHANNELS, 10, map_size=4)
    embedding = torch.rand(3, 10)
    logits = decoder.map_logits(embedding)
    assert logits.shape == (3, 1, 4, 4)
    weight, bias = decoder.concept_map.weight, decoder.concept_map.bias
    assert torch.allclose(logits.flatten(1), embedding @ weight.T + bias, atol=1e-6)
    assert PyramidDecoder(CHANNELS, 10, map_size=0).map_logits(embedding) is None


def test_the_concept_map_reaches_the_place_it_names():
    decoder = PyramidDecoder(CHANNELS, 10, map_size=2).eval()
    with torch.no_grad():
        decoder.concept_map.weight.zero_()
        decoder.concept_map.bias.fill_(-30)
    features, embedding = pyramid(1, (32, 32)), torch.zeros(1, 10)
    seen = []
    decoder.bottleneck.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, -1]))
    with torch.no_grad():
        decoder.concept_map.bias[2] = 30  # second row, first column
    decoder(features, embedding)
    assert seen[0][0, -1, 0] > 0.99 and seen[0][0, 0, -1] < 0.01


def test_film_multiplies_by_one_plus_mul_and_adds():
    film = FiLM(2, 3)
    embedding, x = torch.tensor([[1.0, -2.0]]), torch.rand(1, 3, 4, 5)
    mul = embedding @ film.film_mul.weight.T
    add = embedding @ film.film_add.weight.T
    expected = x * (1 + mul[0, :, None, None]) + add[0, :, None, None]
    assert torch.allclose(film(x, embedding), expected, atol=1e-6)
    assert torch.equal(film(x, torch.zeros(1, 2)), x)


@pytest.mark.parametrize("share", [0.5, 0.01])
def test_training_starts_from_the_expected_foreground(share):
    torch.manual_seed(0)
    decoder = PyramidDecoder(CHANNELS, 10, stride=2, foreground=share).eval()
    with torch.no_grad():
        logits, _ = decoder(pyramid(8, stride=2), torch.rand(8, 10))
    assert float(logits.median()) == pytest.approx(float(torch.logit(torch.tensor(share))), abs=0.7)
    with pytest.raises(ValueError, match="foreground share in"):
        PyramidDecoder(CHANNELS, 10, foreground=0.0)


@pytest.mark.parametrize("stride", [1, 2])
def test_deep_supervision_gives_a_mask_of_every_coarser_level(stride):
    decoder = PyramidDecoder(CHANNELS, 10, stride=stride, deep_supervision=True).eval()
    features, embedding = pyramid(2, stride=stride), torch.randn(2, 10)
    logits, pooled, sides = decoder.decode_levels(features, embedding)
    assert [side.shape for side in sides] == [(2, 1, *f.shape[2:]) for f in features[1:]]
    alone = decoder(features, embedding)
    assert torch.equal(alone[0], logits) and torch.equal(alone[1], pooled)
    assert PyramidDecoder(CHANNELS, 10).decode_levels(pyramid(1), embedding[:1])[2] == []


def test_weights_with_and_without_side_heads_load_into_each_other():
    features, embedding = pyramid(1), torch.randn(1, 10)
    plain = PyramidDecoder(CHANNELS, 10).eval()
    deep = PyramidDecoder(CHANNELS, 10, deep_supervision=True).eval()
    with torch.no_grad():
        plain.head.bias += 1
    deep.load_state_dict(plain.state_dict())
    expected = plain(features, embedding)[0]
    assert torch.equal(deep(features, embedding)[0], expected)
    with torch.no_grad():
        deep.head.bias += 1
    plain.load_state_dict(deep.state_dict())
    assert torch.allclose(plain(features, embedding)[0], expected + 1, atol=1e-5)
    state = deep.state_dict()
    state["other.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"other\.weight"):
        plain.load_state_dict(state)


def test_adding_joins_what_is_as_wide_as_the_skip():
    decoder = PyramidDecoder(CHANNELS, 10, join="add").eval()
    seen = []
    decoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features, embedding = pyramid(1), torch.randn(1, 10)
    decoder(features, embedding)
    with torch.no_grad():
        decoder.narrow[0].weight.zero_()
        decoder.narrow[0].bias.fill_(0.5)
    decoder(features, embedding)
    assert seen[0].shape == features[1].shape
    assert torch.allclose(seen[1], features[1] + 0.5, atol=1e-6)
    with pytest.raises(ValueError, match="join 'concat' or 'add', got 'sum'"):
        PyramidDecoder(CHANNELS, 10, join="sum")


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("join", ["concat", "add"])
@pytest.mark.parametrize("skip", [True, False])
def test_weights_of_another_join_load_and_work_as_they_did(join, norm, skip):
    features, embedding = pyramid(1), torch.randn(1, 10)
    trained, *others = (
        PyramidDecoder(CHANNELS, 10, skip=skip, norm=norm, join=j).eval()
        for j in (join, "concat", "add")
    )
    expected = trained(features, embedding)[0]
    for loaded in others:
        loaded.load_state_dict(trained.state_dict())
        assert torch.equal(loaded(features, embedding)[0], expected)
        assert loaded.join == join


def test_the_concept_map_weighs_at_every_pixel_and_older_weights_know_no_gain():
    features, embedding = pyramid(1), torch.randn(1, 10)
    plain = PyramidDecoder(CHANNELS, 10).eval()
    guided = PyramidDecoder(CHANNELS, 10, map_gain=0.5).eval()
    guided.load_state_dict(plain.state_dict())
    expected = plain(features, embedding)[0]
    assert torch.equal(guided(features, embedding)[0], expected)
    with torch.no_grad():
        guided.map_gain.fill_(2)
        gained = guided(features, embedding)[0] - expected
    whole = torch.nn.functional.interpolate(
        guided.map_logits(embedding), expected.shape[2:], mode="bilinear"
    )
    assert torch.allclose(gained, 2 * whole, atol=1e-5)
    with pytest.raises(RuntimeError, match="map_gain"):
        plain.load_state_dict(guided.state_dict())
    with pytest.raises(ValueError, match="map_size above 0"):
        PyramidDecoder(CHANNELS, 10, map_size=0, map_gain=1.0)
