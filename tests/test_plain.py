"""Plain baselines behind the network's interface."""

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from conceptseg.plain import PlainSegNet


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
def test_sizes_the_network_cannot_halve_are_padded_and_cropped(size):
    torch.manual_seed(0)
    unet = UNet(2, 3, 2, channels=[4, 8, 8, 8, 8], strides=[2, 2, 2, 2]).eval()
    net = PlainSegNet(["a", "b"], unet, 3)
    image = torch.rand(2, 3, *size)
    logits = net.encode_image(image).backbone.features[0]
    assert logits.shape == (2, 2, *size)
    right, bottom = -size[1] % 16, -size[0] % 16
    wide = torch.cat([image, image[..., -1:].expand(-1, -1, -1, right)], dim=3)
    full = torch.cat([wide, wide[..., -1:, :].expand(-1, -1, bottom, -1)], dim=2)
    assert torch.equal(logits, unet(full)[..., : size[0], : size[1]])
