"""CLIPSeg's mask decoder on grids of any shape, refined by high-resolution features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.clipseg.modeling_clipseg import CLIPSegDecoder

from ..blocks import convolution_block
from .config import ConfigLike, check_stem_channels, clipseg_config


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """`x` (B, C, H, W) at another size, bilinear."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


class ClipSegMaskDecoder(nn.Module):
    """CLIPSeg's decoder with a skip from the backbone's stem.

    What the skip adds starts at zero: pretrained weights give CLIPSeg's own logits at first.

    Args:
        config: the backbone's; its `projection_dim` is the width E of the embedding.
        stem_channels: those of the backbone.
        skip: refine the logits by the stem's features.

    Attributes:
        pooled_channels: channels of the pooled vector that presence is read from.

    Raises:
        ValueError: for a skip without a stem.

    Example::

        features = ClipSegBackbone()(torch.rand(2, 3, 352, 352)).features
        logits, pooled = ClipSegMaskDecoder()(features, torch.rand(2, 512))
        logits.shape, pooled.shape  # (2, 1, 352, 352), (2, 64)
    """

    def __init__(
        self,
        config: ConfigLike = None,
        stem_channels: Sequence[int] = (16, 32),
        skip: bool = True,
    ) -> None:
        super().__init__()
        self.config = clipseg_config(config)
        widths = check_stem_channels(stem_channels)
        if skip and not widths:
            raise ValueError(
                "expected stem_channels for the skip, got none; give the backbone's, or skip=False"
            )
        self.num_stem = len(widths)
        self.skip = skip
        self.decoder = CLIPSegDecoder(self.config)
        self.pooled_channels = self.config.reduce_dim
        if skip:
            fine, coarse = widths
            self.refine_coarse = convolution_block(self.config.reduce_dim + coarse, coarse)
            self.refine_fine = convolution_block(coarse + fine, fine)
            self.refine_head = nn.Conv2d(fine, 1, 1)
            nn.init.zeros_(self.refine_head.weight)
            nn.init.zeros_(self.refine_head.bias)

    def map_logits(self, embedding: Tensor) -> None:
        """None: unlike `PyramidDecoder`, this decoder reads no concept map from the embedding."""

    def forward(self, features: Sequence[Tensor], embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Decode one mask per embedding.

        Args:
            features: what `ClipSegBackbone` gives, finest first.
            embedding: (B, E).

        Returns:
            Mask logits (B, 1, H, W) at image resolution and the pooled vector (B, pooled_channels).

        Raises:
            ValueError: if the number of features is another than the arguments imply.
        """
        depth = len(self.decoder.reduces)
        if len(features) != self.num_stem + depth + 1:
            raise ValueError(
                f"expected {self.num_stem} stem maps, {depth} layer maps and the class tokens, got"
                f" {len(features)} features; build backbone and decoder with the same arguments"
            )
        maps, class_tokens = features[self.num_stem : -1], features[-1]
        x = self._attend(maps, class_tokens, embedding)
        size = [n * self.config.vision_config.patch_size for n in x.shape[2:]]
        logits = _resize(self.decoder.transposed_convolution(x), size)
        if self.skip:
            logits = logits + self._refine(x, features[0], features[1], size)
        return logits, x.amax(dim=(2, 3))

    def _attend(self, maps: Sequence[Tensor], class_tokens: Tensor, embedding: Tensor) -> Tensor:
        """CLIPSegDecoder.forward (transformers 5.23) up to its grid (B, reduce_dim, h, w)."""
        film_mul = self.decoder.film_mul(embedding).unsqueeze(1)  # (B, 1, reduce_dim)
        film_add = self.decoder.film_add(embedding).unsqueeze(1)
        class_tokens = class_tokens.flatten(1).unflatten(1, (len(maps), 1, -1)).unbind(1)
        output = None
        for i, level in enumerate(reversed(range(len(maps)))):  # deep to shallow
            patches = maps[level].flatten(2).transpose(1, 2)  # (B, N, D)
            tokens = self.decoder.reduces[i](torch.cat([class_tokens[level], patches], dim=1))
            output = tokens if output is None else tokens + output
            if i == self.decoder.conditional_layer:
                output = film_mul * output + film_add
            output = self.decoder.layers[i](output, attention_mask=None)
        return output[:, 1:].transpose(1, 2).unflatten(2, maps[0].shape[2:])

    def _refine(self, x: Tensor, fine: Tensor, coarse: Tensor, size: Sequence[int]) -> Tensor:
        """What the stem's maps add to the logits, (B, 1, H, W)."""
        x = self.refine_coarse(torch.cat([_resize(x, coarse.shape[2:]), coarse], dim=1))
        x = self.refine_fine(torch.cat([_resize(x, fine.shape[2:]), fine], dim=1))
        return _resize(self.refine_head(x), size)
