"""Networks without concepts behind the same interface: baselines on the same data, budget and metrics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .backbones import BackboneOutput
from .decoder import foreground_logit
from .network import with_background
from .outline import OutlineChoice, fill_in_outline
from .prediction import ImageEncoding
from .slices import pad_to_multiple


class PlainReadout:
    """Reads nothing: a plain network has no concepts."""

    def read(self, embedding: Tensor) -> dict:
        """No attributes."""
        return {}


class PlainSegNet(nn.Module):
    """Any 2-D segmentation network of MONAI with K output channels, used like `ConceptSegNet`.

    It follows no prompt and has no presence; `ConceptInferer` and the training configs drive it
    unchanged, so that a baseline differs from ours in the network alone.

    Args:
        keywords: one per label.
        network: (B, in_channels, H, W) -> (B, K, H, W).
        in_channels: image channels, neighbouring slices included.
        divisor: image sizes that `network` needs multiples of; others are padded with zeros around
            their centre, as `ConceptInferer` does, and the logits cropped.
        foreground: share of an image's pixels that objects are expected to cover, which training starts
            from, as for `PyramidDecoder`.
        choose_outline: as for `ConceptSegNet`.
    """

    def __init__(
        self,
        keywords: Sequence[str],
        network: nn.Module,
        in_channels: int,
        divisor: int = 16,
        foreground: float = 0.5,
        choose_outline: bool = False,
    ) -> None:
        super().__init__()
        self.outline = OutlineChoice() if choose_outline else None
        self.register_load_state_dict_pre_hook(fill_in_outline)
        self.start = foreground_logit(foreground)
        self.keywords = tuple(keywords)
        self.network = network
        self.backbone = _PlainBackbone(in_channels, divisor)
        self.readout = PlainReadout()
        self.descriptors: dict = {}

    def encode_image(self, image: Tensor) -> ImageEncoding:
        """The whole forward pass; there is nothing to decode afterwards."""
        student = torch.zeros(image.shape[0], len(self.keywords), 1, device=image.device)
        return ImageEncoding(BackboneOutput(student[:, 0], [self._outlined(image)]), student)

    def condition(self, encoding: ImageEncoding, *_: Tensor) -> Tensor:
        """Nothing."""
        return encoding.student

    null_condition = condition

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Refuse: a plain network follows no prompt."""
        raise ValueError(
            "expected a network that follows prompts, got a plain baseline; leave the prompt out"
        )

    def decode(self, encoding: ImageEncoding, condition: Tensor) -> tuple[Tensor, None]:
        """Mask logits (B, K, H, W)."""
        return encoding.backbone.features[0], None

    def gate(self, logits: Tensor, presence: None) -> Tensor:
        """Unchanged logits."""
        return logits

    def forward(self, image: Tensor, targets: dict | None = None) -> Tensor | dict:
        """Logits with background (B, K + 1, H, W), or with targets the dictionary the loss takes."""
        if targets is None:
            return with_background(self._outlined(image))
        logits = self._logits(image)
        if self.outline is not None:
            self.outline.learn(logits, targets["mask"])
        return {"logits": logits, "presence": None, "map": None}

    def _outlined(self, image: Tensor) -> Tensor:
        """Mask logits (B, K, H, W), moved to the chosen outlines."""
        logits = self._logits(image)
        return logits if self.outline is None else self.outline(logits)

    def _logits(self, image: Tensor) -> Tensor:
        """Mask logits (B, K, H, W), around the expected share where the network says nothing."""
        padded, inner = pad_to_multiple(image, self.backbone.divisor)
        return self.network(padded)[inner] + self.start


class _PlainBackbone:
    """What the inferer asks of a backbone."""

    def __init__(self, in_channels: int, divisor: int) -> None:
        self.in_channels = in_channels
        self.divisor = divisor
