"""Plain baselines behind the network's interface."""

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from conceptseg.inferer import ConceptInferer
from conceptseg.plain import PlainSegNet
from conceptseg.slices import slices_to_volume, volume_to_slices


class Silent(nn.Module):
    """Says nothing of two labels anywhere."""

    def forward(self, image):
        return torch.zeros(image.shape[0], 2, *image.shape[2:])


def test_a_baseline_starts_from_the_expected_share_wherever_it_is_asked():
    image = torch.rand(1, 3, 8, 8)
    net = PlainSegNet(["a", "b"], Silent(), 3, foreground=0.01)
    trained = net(image, targets={})["logits"]
    asked, presence = net.decode(net.encode_image(image), torch.zeros(1, 2, 1))
    assert trained.sigmoid() == pytest.approx(torch.full((1, 2, 8, 8), 0.01), rel=1e-4)
    assert torch.equal(asked, trained) and presence is None
    assert torch.equal(net(image)[:, 1:], trained)
    even = PlainSegNet(["a", "b"], Silent(), 3)
    assert float(even(image, targets={})["logits"].abs().max()) == 0


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match=r"expected a foreground share in \(0, 1\)"):
        PlainSegNet(["a"], Silent(), 3, foreground=share)


@pytest.mark.parametrize("size", [(56, 56), (17, 33), (64, 48)])
def test_sizes_the_network_cannot_halve_are_padded_around_the_centre(size):
    torch.manual_seed(0)
    unet = UNet(2, 3, 2, channels=[4, 8, 8, 8, 8], strides=[2, 2, 2, 2]).eval()
    net = PlainSegNet(["a", "b"], unet, 3)
    image = torch.rand(2, 3, *size)
    height, width = (-(-max(length, 32) // 16) * 16 for length in size)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    full = torch.zeros(2, 3, height, width)
    inside = (..., slice(top, top + size[0]), slice(left, left + size[1]))
    full[inside] = image
    trained = net(image, targets={})["logits"]
    assert torch.equal(trained, unet(full)[inside])


def test_a_slice_is_padded_in_training_as_it_is_in_testing():
    torch.manual_seed(0)
    unet = UNet(2, 3, 1, channels=[4, 8, 8, 8, 8], strides=[2, 2, 2, 2]).eval()
    net = PlainSegNet(["a"], unet, 3)
    volume = torch.rand(1, 1, 41, 35, 4)
    tested = ConceptInferer(slice_axes=(2,), slice_context=1)(volume, net)
    stacks = volume_to_slices(volume[0], axis=2, context=1)
    trained = slices_to_volume(net(stacks, targets={})["logits"].sigmoid(), axis=2)
    assert torch.allclose(tested[0, 1:], trained, atol=1e-5)
