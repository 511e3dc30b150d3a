"""The fast form of instance normalisation gives what the plain one gives."""

import pytest
import torch
from monai.networks.layers import get_norm_layer

from conceptseg.blocks import norm_layer


@pytest.mark.parametrize("training", [True, False])
def test_instance_normalisation_is_the_same_in_its_fast_form(training):
    torch.manual_seed(0)
    maps = torch.randn(3, 6, 9, 7) * 4 + 20
    fast, plain = (
        get_norm_layer(name, spatial_dims=2, channels=6).train(training)
        for name in (norm_layer("instance", 6), "instance")
    )
    assert type(fast) is not type(plain)
    assert torch.allclose(fast(maps), plain(maps), atol=1e-5)
    assert fast.state_dict().keys() == plain.state_dict().keys() == set()


def test_other_normalisations_stay_as_named():
    assert norm_layer("batch", 6) == "batch"
