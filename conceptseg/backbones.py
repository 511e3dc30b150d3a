"""Image encoders behind one interface: image -> class token and feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from monai.networks.blocks import TransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import residual_block


@dataclass
class BackboneOutput:
    """What an image encoder gives.

    Attributes:
        class_token: (B, D), first position of the last hidden state.
        features: maps (B, C_i, H / s_i, W / s_i), finest first.
        tokens: token sequences (B, 1 + N, D) of intermediate layers, class position first, for
            decoders that attend over them; empty for convolutional encoders.
    """

    class_token: Tensor
    features: list[Tensor]
    tokens: list[Tensor] = field(default_factory=list)


class ImageBackbone(nn.Module):
    """Interface of all image encoders.

    Attributes:
        in_channels: channels of the image it takes.
        embed_dim: width D of the class token.
        feature_channels: channels of each pyramid level, finest first.
        feature_strides: stride in pixels of each pyramid level, finest first.
        divisor: image height and width must be multiples of it.
    """

    in_channels: int
    embed_dim: int
    feature_channels: tuple[int, ...]
    feature_strides: tuple[int, ...]
    divisor: int

    @property
    def frozen(self) -> bool:
        """True when no parameter of the encoder is trained."""
        return not any(p.requires_grad for p in self.parameters())

    def freeze(self) -> None:
        """Exclude every parameter of the encoder from training."""
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def check_image(self, image: Tensor) -> None:
        """Raise ValueError unless `image` is (B, in_channels, H, W) with H, W multiples of `divisor`."""
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ValueError(
                f"expected an image batch (B, {self.in_channels}, H, W), got shape"
                f" {tuple(image.shape)}; convert the channels first"
            )
        if image.shape[2] % self.divisor or image.shape[3] % self.divisor:
            raise ValueError(
                f"expected height and width in multiples of {self.divisor}, got"
                f" {tuple(image.shape[2:])}; pad or resize the image (the inferer pads for you)"
            )


class CompactBackbone(ImageBackbone):
    """Convolutional pyramid with attention at the coarse end and a class token, for training from scratch.

    Args:
        in_channels: image channels (neighbouring slices count as channels).
        feature_channels: channels per level, finest first; each level halves the resolution.
        stem_stride: stride of the finest level, 1 or 2 pixels.
        num_layers: transformer layers at the coarsest level.
        num_heads: attention heads.
        grid_size: positions per axis of the learned position embedding; other sizes interpolate it.
        norm: MONAI normalisation name of the convolution blocks.
        coarse_blocks: residual blocks of every level with a stride of 4 pixels or more; finer ones have one.
            Weights of another number load all the same, and the network then has theirs.

    Raises:
        ValueError: if stem_stride or coarse_blocks is out of range.

    Example::

        backbone = CompactBackbone(3, (16, 32, 64, 128))
        out = backbone(torch.rand(2, 3, 64, 64))
        out.class_token.shape  # (2, 128)
        [f.shape[1:] for f in out.features]  # (16, 64, 64) (32, 32, 32) (64, 16, 16) (128, 8, 8)
    """

    def __init__(
        self,
        in_channels: int,
        feature_channels: Sequence[int] = (32, 64, 128, 192),
        stem_stride: int = 1,
        num_layers: int = 2,
        num_heads: int = 4,
        grid_size: int = 8,
        norm: str = "instance",
        coarse_blocks: int = 1,
    ) -> None:
        super().__init__()
        if stem_stride not in (1, 2):
            raise ValueError(f"expected stem_stride 1 or 2, got {stem_stride}")
        if coarse_blocks < 1:
            raise ValueError(f"expected coarse_blocks of at least 1, got {coarse_blocks}")
        self.in_channels = in_channels
        self.norm = norm
        self.feature_channels = tuple(feature_channels)
        self.embed_dim = self.feature_channels[-1]
        self.feature_strides = tuple(stem_stride * 2**i for i in range(len(feature_channels)))
        self.divisor = self.feature_strides[-1]
        self.levels = nn.ModuleList()
        self.further_blocks = nn.ModuleList()
        channels = in_channels
        for i, width in enumerate(self.feature_channels):
            stride = stem_stride if i == 0 else 2
            self.levels.append(residual_block(channels, width, norm, stride))
            more = coarse_blocks - 1 if self.feature_strides[i] >= 4 else 0
            self.further_blocks.append(_residual_blocks(width, norm, more))
            channels = width
        self.class_embedding = nn.Parameter(torch.randn(1, 1, self.embed_dim) * 0.02)
        self.position_embedding = nn.Parameter(
            torch.randn(1, self.embed_dim, grid_size, grid_size) * 0.02
        )
        self.attention = nn.ModuleList(
            TransformerBlock(self.embed_dim, 2 * self.embed_dim, num_heads)
            for _ in range(num_layers)
        )
        self.layer_norm = nn.LayerNorm(self.embed_dim)
        self.register_load_state_dict_pre_hook(_take_as_many_blocks)

    def forward(self, image: Tensor) -> BackboneOutput:
        """Encode `image` (B, C, H, W), normalised intensities; see `BackboneOutput` for the result."""
        self.check_image(image)
        features = []
        x = image
        for level, further in zip(self.levels, self.further_blocks, strict=True):
            x = further(level(x))
            features.append(x)
        height, width = x.shape[2:]
        position = F.interpolate(
            self.position_embedding, (height, width), mode="bilinear", align_corners=False
        )
        patches = (x + position).flatten(2).transpose(1, 2)  # (B, N, D)
        tokens = torch.cat([self.class_embedding.expand(x.shape[0], -1, -1), patches], dim=1)
        for layer in self.attention:
            tokens = layer(tokens)
        tokens = self.layer_norm(tokens)
        features[-1] = tokens[:, 1:].transpose(1, 2).reshape(x.shape)  # (B, D, h, w)
        return BackboneOutput(tokens[:, 0], features)


def _residual_blocks(channels: int, norm: str, count: int) -> nn.Sequential:
    """`count` residual blocks that keep channels and resolution."""
    return nn.Sequential(*(residual_block(channels, channels, norm) for _ in range(count)))


def _take_as_many_blocks(
    backbone: CompactBackbone, state: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """Give each level as many further blocks as it has in `state`, which is about to be loaded."""
    start = f"{prefix}further_blocks."
    names = {tuple(n[len(start) :].split(".")[:2]) for n in state if n.startswith(start)}
    for i, (blocks, width) in enumerate(
        zip(backbone.further_blocks, backbone.feature_channels, strict=True)
    ):
        count = sum(level == str(i) for level, _ in names)
        if count != len(blocks):
            blocks = _residual_blocks(width, backbone.norm, count).train(backbone.training)
            backbone.further_blocks[i] = blocks.to(backbone.class_embedding.device)
