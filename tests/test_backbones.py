"""CompactBackbone: documented shapes, refusals and freezing."""

import pytest
import torch

from conceptseg.backbones import CompactBackbone


@pytest.fixture(autouse=True)
def _seed(fixed_seed):
    """Every test starts from the same random state."""


def backbone(**changes) -> CompactBackbone:
    """Three levels, one attention layer."""
    settings = {"in_channels": 3, "feature_channels": (4, 8, 16), "num_layers": 1, "grid_size": 4}
    return CompactBackbone(**(settings | changes)).eval()


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (2, 3, 32, 16), (1, 3, 8, 24)])
def test_features_follow_the_declared_channels_and_strides(stem_stride, shape):
    net = backbone(stem_stride=stem_stride)
    result = net(torch.rand(shape))
    assert result.class_token.shape == (shape[0], net.embed_dim)
    for level, channels, stride in zip(
        result.features, net.feature_channels, net.feature_strides, strict=True
    ):
        assert level.shape == (shape[0], channels, shape[2] // stride, shape[3] // stride)
    assert net.divisor == 4 * stem_stride and result.tokens == []


def test_the_documented_example_holds():
    result = CompactBackbone(3, (16, 32, 64, 128))(torch.rand(2, 3, 64, 64))
    assert result.class_token.shape == (2, 128)
    shapes = [tuple(f.shape[1:]) for f in result.features]
    assert shapes == [(16, 64, 64), (32, 32, 32), (64, 16, 16), (128, 8, 8)]


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_coarse_blocks_are_on_every_level_from_a_stride_of_4_on(stem_stride):
    net = backbone(stem_stride=stem_stride, coarse_blocks=3)
    further = [2 if stride >= 4 else 0 for stride in net.feature_strides]
    assert [len(blocks) for blocks in net.further_blocks] == further
    plain = backbone(stem_stride=stem_stride)
    plain.levels.load_state_dict(net.levels.state_dict())
    image = torch.rand(1, 3, 16, 16)
    for before, after, more in zip(
        plain(image).features, net(image).features, further, strict=True
    ):
        assert before.shape == after.shape
        assert torch.equal(before, after) == (more == 0)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_weights_of_another_number_of_blocks_load_and_work_as_they_did(blocks, norm):
    trained, loaded, again = (backbone(coarse_blocks=n, norm=norm) for n in (blocks, 2, 1))
    image = torch.rand(1, 3, 16, 16)
    token = trained(image).class_token
    assert not torch.equal(loaded(image).class_token, token)
    loaded.load_state_dict(trained.state_dict())
    again.load_state_dict(loaded.state_dict())
    assert torch.equal(loaded(image).class_token, token)
    assert torch.equal(again(image).class_token, token)


def test_less_than_one_coarse_block_is_refused():
    with pytest.raises(ValueError, match="expected coarse_blocks of at least 1, got 0"):
        backbone(coarse_blocks=0)


def test_the_class_token_sees_every_corner_and_each_image_alone():
    net = backbone()
    image = torch.rand(2, 3, 32, 32)
    before = net(image).class_token
    changed = image.clone()
    changed[0, :, -4:, -4:] += 5
    after = net(changed).class_token
    assert (after[0] - before[0]).abs().max() > 1e-4
    assert torch.allclose(after[1], before[1], atol=1e-6)


def test_the_class_token_knows_where_things_are():
    net = backbone()
    torch.nn.init.normal_(net.position_embedding)
    left, right = torch.zeros(2, 1, 3, 32, 32)
    left[..., 12:20, 2:10] = right[..., 12:20, 22:30] = 1
    assert (net(left).class_token - net(right).class_token).abs().max() > 1e-3


def test_freezing_leaves_no_parameter_with_a_gradient():
    net = backbone()
    assert not net.frozen
    net.freeze()
    assert net.frozen
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    net(image).class_token.sum().backward()
    assert image.grad is not None and all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 16, 16), (1, 3, 16, 16, 16)])
def test_images_of_another_rank_or_channel_count_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected an image batch \(B, 3, H, W\), got shape"):
        backbone()(torch.rand(shape))


@pytest.mark.parametrize("size", [(15, 16), (16, 18)])
def test_sizes_that_do_not_divide_are_refused(size):
    with pytest.raises(ValueError, match="in multiples of 4, got"):
        backbone()(torch.rand(1, 3, *size))


def test_another_stem_stride_is_refused():
    with pytest.raises(ValueError, match="expected stem_stride 1 or 2, got 3"):
        backbone(stem_stride=3)
