"""Convolution blocks of the image encoders and mask decoders."""

from __future__ import annotations

from monai.networks.blocks import Convolution
from monai.networks.blocks.dynunet_block import UnetResBlock


def norm_layer(norm: str, channels: int) -> str | tuple[str, dict[str, object]]:
    """MONAI's name of the normalisation `norm` for maps of `channels` channels.

    Instance normalisation without weights is group normalisation with one channel a group, the same figures to
    rounding, which PyTorch computes three to four times as fast on a CPU; neither has anything in a state dict.
    """
    if norm != "instance":
        return norm
    return "group", {"num_groups": channels, "affine": False}


def convolution_block(
    in_channels: int, out_channels: int, norm: str = "instance", stride: int = 1
) -> Convolution:
    """3x3 convolution, normalisation (MONAI's name), leaky ReLU on maps (B, in_channels, H, W)."""
    layer = norm_layer(norm, out_channels)
    return Convolution(2, in_channels, out_channels, stride, 3, norm=layer, act="leakyrelu")


def residual_block(in_channels: int, out_channels: int, norm: str, stride: int = 1) -> UnetResBlock:
    """Two 3x3 convolutions with a residual connection on maps (B, in_channels, H, W)."""
    layer = norm_layer(norm, out_channels)
    return UnetResBlock(2, in_channels, out_channels, 3, stride, norm_name=layer)
