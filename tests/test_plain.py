"""Plain baselines behind the network's interface."""

import pytest
import torch
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
