"""Sizes of the CLIPSeg parts: those of the refined checkpoint unless overridden."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from transformers import CLIPSegConfig

ConfigLike: TypeAlias = CLIPSegConfig | Mapping[str, Any] | None

REFINED_CHECKPOINT = "CIDAS/clipseg-rd64-refined"
# what that checkpoint's config.json sets beside the defaults of transformers' CLIPSegConfig
REFINED_CONFIG: dict[str, Any] = {
    "reduce_dim": 64,
    "extract_layers": [3, 6, 9],  # counted from 0: layers 4, 7 and 10 of the paper
    "use_complex_transposed_convolution": True,
    "vision_config": {"patch_size": 16},
}
STEM_STRIDES = (2, 4)


def clipseg_config(overrides: ConfigLike = None) -> CLIPSegConfig:
    """Configuration of the refined checkpoint with `overrides`; a complete configuration is copied.

    Args:
        overrides: CLIPSegConfig, or a mapping of what differs, such as
            {"reduce_dim": 16, "vision_config": {"patch_size": 16, "num_hidden_layers": 4}}.

    Raises:
        ValueError: if a layer to extract does not exist.
    """
    if isinstance(overrides, CLIPSegConfig):
        settings = overrides.to_dict()
    else:
        settings = {**REFINED_CONFIG, **(overrides or {})}
        vision = {**REFINED_CONFIG["vision_config"], **settings["vision_config"]}
        settings = copy.deepcopy({**settings, "vision_config": vision})
    # CLIPSegDecoder alone would find no attention in the vision configuration that it copies
    config = CLIPSegConfig.from_dict({"attn_implementation": "sdpa", **settings})
    depth = config.vision_config.num_hidden_layers
    if not config.extract_layers or not all(0 <= i < depth for i in config.extract_layers):
        raise ValueError(
            f"expected extract_layers out of 0..{depth - 1}, got {list(config.extract_layers)};"
            " count the layers of the vision transformer from 0"
        )
    return config


def check_stem_channels(stem_channels: Sequence[int]) -> tuple[int, ...]:
    """The channels of the convolutional stem as a tuple: one for each of its strides, or empty."""
    if len(stem_channels) not in (0, len(STEM_STRIDES)):
        raise ValueError(
            f"expected stem_channels for the strides {STEM_STRIDES}, got {tuple(stem_channels)};"
            " give one number per stride, or none to leave the stem out"
        )
    return tuple(stem_channels)
