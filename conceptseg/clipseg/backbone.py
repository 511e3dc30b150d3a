"""CLIP's vision transformer as an image encoder, with a convolutional stem for fine borders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.models.clipseg.modeling_clipseg import CLIPSegVisionModel

from ..backbones import BackboneOutput, ImageBackbone
from ..blocks import convolution_block
from .config import STEM_STRIDES, ConfigLike, check_stem_channels, clipseg_config

# mean and standard deviation of RGB in [0, 1]
NORMALIZATIONS = {
    # ImageNet's: preprocessor_config.json of the CLIPSeg checkpoints, trained with it
    "clipseg": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # the vision transformer's own pretraining: Radford et al., ICML 2021, public code
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


class ClipSegBackbone(ImageBackbone):
    """CLIP's vision transformer (pretrained, frozen by default) beside a small stem (trained).

    Its features are, finest first: the stem's maps at strides 2 and 4; the patch tokens of each
    extracted layer as a map at the patch stride, shallow to deep; last the class tokens of those
    layers side by side as one map of 1 x 1 (stride 0: the whole image), for CLIPSeg's decoder
    attends over them too. The class token is the last layer's, before the final layer norm.

    Args:
        config: CLIPSeg configuration, or what differs from the refined checkpoint's.
        stem_channels: channels of the stem at strides 2 and 4; empty leaves the stem out.
        normalization: statistics applied to the image here: "clipseg" (ImageNet's, with which the
            checkpoint's decoder was trained) or "clip".
        frozen: exclude the vision transformer from training.

    Raises:
        ValueError: for an unknown normalization, layer or stem.

    Example::

        backbone = ClipSegBackbone()
        out = backbone(torch.rand(2, 3, 352, 352))
        out.class_token.shape  # (2, 768)
        [tuple(f.shape[1:]) for f in out.features]
        # (16, 176, 176) (32, 88, 88) (768, 22, 22) (768, 22, 22) (768, 22, 22) (2304, 1, 1)
    """

    in_channels = 3

    def __init__(
        self,
        config: ConfigLike = None,
        stem_channels: Sequence[int] = (16, 32),
        normalization: str = "clipseg",
        frozen: bool = True,
    ) -> None:
        super().__init__()
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"expected a normalization out of {tuple(NORMALIZATIONS)}, got {normalization!r}"
            )
        self.config = clipseg_config(config)
        widths = check_stem_channels(stem_channels)
        self.vision_model = CLIPSegVisionModel(self.config.vision_config)
        self.stem = nn.ModuleList(
            convolution_block(before, after, stride=2)
            for before, after in zip((self.in_channels, *widths), widths, strict=False)
        )
        for name, values in zip(
            ("image_mean", "image_std"), NORMALIZATIONS[normalization], strict=True
        ):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.embed_dim = self.config.vision_config.hidden_size
        self.divisor = self.config.vision_config.patch_size
        depth = len(self.config.extract_layers)
        self.feature_channels = (*widths, *[self.embed_dim] * depth, self.embed_dim * depth)
        self.feature_strides = (*STEM_STRIDES[: len(widths)], *[self.divisor] * depth, 0)
        # for `pooled_output` only: without a gradient, it would stall distributed training
        self.vision_model.post_layernorm.requires_grad_(False)
        if frozen:
            self.freeze()

    def freeze(self) -> None:
        """Exclude the vision transformer from training; the stem is not pretrained and stays."""
        self.vision_model.requires_grad_(False)
        self.vision_model.eval()

    def train(self, mode: bool = True) -> ClipSegBackbone:
        """Set the mode of training; a frozen vision transformer stays in evaluation mode."""
        super().train(mode)
        if not any(p.requires_grad for p in self.vision_model.parameters()):
            self.vision_model.eval()
        return self

    def pooled_output(self, class_token: Tensor) -> Tensor:
        """A class token (B, D) after CLIP's final layer norm."""
        return self.vision_model.post_layernorm(class_token)

    def forward(self, image: Tensor) -> BackboneOutput:
        """Encode an image; position embeddings are interpolated to its grid.

        Args:
            image: (B, 3, H, W) RGB in [0, 1]; H and W multiples of `divisor`. Normalised here.

        Raises:
            ValueError: for another number of channels or another size.
        """
        self.check_image(image)
        image = (image.to(self.image_mean.dtype) - self.image_mean) / self.image_std
        features = []
        x = image
        for block in self.stem:
            x = block(x)
            features.append(x)
        hidden = self.vision_model.embeddings(image, interpolate_pos_encoding=True)
        hidden = self.vision_model.pre_layrnorm(hidden)  # (B, 1 + N, D)
        layers = []
        for layer in self.vision_model.encoder.layers:
            hidden = layer(hidden, attention_mask=None)
            layers.append(hidden)
        extracted = [layers[i] for i in self.config.extract_layers]
        grid = [n // self.divisor for n in image.shape[2:]]
        features += [t[:, 1:].transpose(1, 2).unflatten(2, grid) for t in extracted]
        features.append(torch.cat([t[:, 0] for t in extracted], dim=1)[:, :, None, None])
        return BackboneOutput(hidden[:, 0], features)
