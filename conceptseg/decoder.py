"""FiLM-conditioned mask decoder over a convolutional feature pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import convolution_block
from .state import fit_part


def foreground_logit(share: float) -> float:
    """Logit of the share of an image's pixels that objects are expected to cover.

    Raises:
        ValueError: a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"expected a foreground share in (0, 1), got {share}")
    return math.log(share / (1 - share))


class FiLM(nn.Module):
    """Feature-wise linear modulation: x * (1 + film_mul(embedding)) + film_add(embedding).

    Source: Perez et al., AAAI 2018. Both projections start at zero, so training starts unmodulated.
    """

    def __init__(self, embed_dim: int, channels: int) -> None:
        super().__init__()
        self.film_mul = nn.Linear(embed_dim, channels)
        self.film_add = nn.Linear(embed_dim, channels)
        for layer in (self.film_mul, self.film_add):
            nn.init.zeros_(layer.bias)
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Modulate `x` (B, C, H, W) by `embedding` (B, E)."""
        mul = self.film_mul(embedding)[:, :, None, None]
        add = self.film_add(embedding)[:, :, None, None]
        return x * (1 + mul) + add


class PyramidDecoder(nn.Module):
    """Coarse-to-fine decoder: every level is upsampled, joined with its skip, modulated by the prompt.

    Args:
        feature_channels: channels of the pyramid, finest first.
        embed_dim: width E of the embedding that conditions it.
        stride: stride of the finest level; every position of it gives stride x stride logits (sub-pixel
            convolution, Shi et al., CVPR 2016), so that the mask comes back at image resolution.
        skip: use the finest level, the high-resolution skip. Without it the finest level sees only
            what comes from below.
        map_size: cells per axis of the concept map, a coarse spatial prompt read from the embedding
            and given to the coarsest level beside it; 0 leaves it out.
        norm: MONAI normalisation name.
        foreground: share of an image's pixels that objects are expected to cover, which training starts
            from; about 0.01 for small objects, which a short training from 0.5 never gets down to.
        deep_supervision: in training every coarser level gives a mask too, see `decode_levels`. Weights
            from before load all the same.
        map_gain: start value of the learned factor with which the concept map's logits are added to the
            mask's, so that a named place weighs at every pixel and not at the coarsest level alone; 0
            leaves it out. Weights from before load with a factor of 0.
        join: "concat" puts a level's skip beside what comes from below; "add" brings that to the skip's
            width by a 1x1 convolution before it is enlarged and adds the two, as SegResNet does
            (Myronenko, BrainLes 2018), at half the cost. Weights of the other join load all the same, and
            the decoder then joins as theirs does.

    Attributes:
        pooled_channels: channels of the pooled vector that presence is read from.

    Example::

        decoder = PyramidDecoder((16, 32, 64), embed_dim=96, stride=1)
        maps = [torch.rand(2, 16, 32, 32), torch.rand(2, 32, 16, 16), torch.rand(2, 64, 8, 8)]
        logits, pooled = decoder(maps, torch.rand(2, 96))
        logits.shape, pooled.shape  # (2, 1, 32, 32), (2, 64)
    """

    def __init__(
        self,
        feature_channels: Sequence[int],
        embed_dim: int,
        stride: int = 1,
        skip: bool = True,
        map_size: int = 8,
        norm: str = "instance",
        foreground: float = 0.5,
        deep_supervision: bool = False,
        map_gain: float = 0.0,
        join: str = "concat",
    ) -> None:
        super().__init__()
        start = foreground_logit(foreground)
        if join not in ("concat", "add"):
            raise ValueError(f"expected join 'concat' or 'add', got {join!r}")
        if map_gain and not map_size:
            raise ValueError(
                f"expected a map_size above 0 with map_gain {map_gain}, got 0; set one"
            )
        self.stride = stride
        self.skip = skip
        self.map_size = map_size
        channels = list(feature_channels)
        self.pooled_channels = channels[-1]
        self.concept_map = nn.Linear(embed_dim, map_size**2) if map_size else None
        self.map_gain = nn.Parameter(torch.tensor(float(map_gain))) if map_gain else None
        self.bottleneck = convolution_block(channels[-1] + bool(map_size), channels[-1], norm)
        self.bottleneck_film = FiLM(embed_dim, channels[-1])
        self._feature_channels = channels
        self._norm = norm
        self._make_joins(join)
        self.films = nn.ModuleList(FiLM(embed_dim, width) for width in channels[-2::-1])
        self.refine = convolution_block(channels[0], channels[0], norm)
        self.head = nn.Conv2d(channels[0], stride**2, 1)
        self.side_heads = nn.ModuleList(
            nn.Conv2d(width, 1, 1) for width in (channels[:0:-1] if deep_supervision else ())
        )
        self.register_load_state_dict_pre_hook(_fill_in_later_parts)
        with torch.no_grad():
            for head in (self.head, *self.side_heads):
                head.bias += start

    def _make_joins(self, join: str) -> None:
        """Make the convolutions that join every level with what comes from below, coarser levels first."""
        self.join = join
        self.narrow = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for level in range(len(self._feature_channels) - 2, -1, -1):
            width, below = self._feature_channels[level : level + 2]
            if join == "add":
                self.narrow.append(nn.Conv2d(below, width, 1))
                joined = width
            else:
                joined = below + (width if self.skip or level > 0 else 0)
            self.blocks.append(convolution_block(joined, width, self._norm))

    def map_logits(self, embedding: Tensor) -> Tensor | None:
        """Concept map of `embedding` (B, E): logits (B, 1, map_size, map_size), or None without one."""
        if self.concept_map is None:
            return None
        return self.concept_map(embedding).view(-1, 1, self.map_size, self.map_size)

    def forward(self, features: Sequence[Tensor], embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Decode one mask per embedding.

        Args:
            features: maps (B, C_i, H / s_i, W / s_i), finest first.
            embedding: (B, E).

        Returns:
            Mask logits (B, 1, H, W) at image resolution and the pooled vector (B, pooled_channels).
        """
        return self._decode(features, embedding, sides=False)[:2]

    def decode_levels(
        self, features: Sequence[Tensor], embedding: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Decode as `forward` does, and give the coarser levels' own masks.

        Returns:
            Mask logits, pooled vector, and with `deep_supervision` mask logits (B, 1, H / s, W / s) of
            every level but the finest, finer ones first.
        """
        return self._decode(features, embedding, sides=True)

    def _decode(
        self, features: Sequence[Tensor], embedding: Tensor, sides: bool
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Mask logits, pooled vector, and if asked for the coarser levels' mask logits."""
        x = features[-1]
        concept_map = self.map_logits(embedding)
        if concept_map is not None:
            x = torch.cat([x, _resize_like(concept_map.sigmoid(), x).to(x.dtype)], dim=1)
        x = self.bottleneck_film(self.bottleneck(x), embedding)
        pooled = x.amax(dim=(2, 3))
        heads = list(self.side_heads) if sides else []
        side_logits: list[Tensor] = []
        for i, (block, film) in enumerate(zip(self.blocks, self.films, strict=True)):
            level = len(features) - 2 - i
            if heads:
                side_logits.insert(0, heads[i](F.leaky_relu(x, 0.01)))
            if self.join == "add":
                x = self.narrow[i](x)
            x = _resize_like(x, features[level])
            if self.skip or level > 0:
                skip = features[level]
                x = x + skip if self.join == "add" else torch.cat([x, skip], dim=1)
            x = film(block(x), embedding)
        logits = F.pixel_shuffle(self.head(self.refine(F.leaky_relu(x, 0.01))), self.stride)
        if self.map_gain is not None:
            prior = _resize_like(concept_map, logits).to(logits.dtype)
            logits = logits + self.map_gain * prior
        return logits, pooled, side_logits


def _resize_like(x: Tensor, like: Tensor) -> Tensor:
    """Maps `x` (N, C, h, w) at the size of `like` (N, D, H, W)."""
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


def _fill_in_later_parts(decoder: PyramidDecoder, state: dict, prefix: str, *_) -> None:
    """Let weights from before load: joined otherwise, without side heads, and no gain is a gain of 0."""
    join = "add" if any(k.startswith(f"{prefix}narrow.") for k in state) else "concat"
    if join != decoder.join and any(k.startswith(f"{prefix}blocks.") for k in state):
        decoder._make_joins(join)
        decoder.train(decoder.training).to(decoder.head.weight.device)
    fit_part(state, f"{prefix}side_heads.", decoder.side_heads.state_dict())
    if decoder.map_gain is not None:
        state.setdefault(f"{prefix}map_gain", torch.zeros_like(decoder.map_gain))
