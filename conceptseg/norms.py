"""Instance normalisation in its fast form."""

from __future__ import annotations


def norm_layer(norm: str, channels: int) -> str | tuple[str, dict[str, object]]:
    """MONAI's name of the normalisation `norm` for maps of `channels` channels.

    Instance normalisation without weights is group normalisation with one channel a group, the same figures to
    rounding, which PyTorch computes three to four times as fast on a CPU; neither has anything in a state dict.
    """
    if norm != "instance":
        return norm
    return "group", {"num_groups": channels, "affine": False}
