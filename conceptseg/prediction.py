"""What inference works with: encoded images, and what is decoded from them for one prompt."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .backbones import BackboneOutput


@dataclass
class ImageEncoding:
    """An encoded image, from which any number of prompts can be decoded.

    Attributes:
        backbone: class token (B, D) and feature maps.
        student: student embeddings (B, K, E), normalised.
    """

    backbone: BackboneOutput
    student: Tensor


@dataclass
class EncodedImage:
    """One image or volume, encoded; decode any number of prompts from it.

    Attributes:
        spatial_shape: of the image, (W, H) or (X, Y, Z).
        stacks: one entry per cutting axis (a 2-D image has one with axis None): the axis, the
            encodings of its batches and the slices that undo the padding.
    """

    spatial_shape: tuple[int, ...]
    stacks: list[tuple[int | None, list[ImageEncoding], tuple]]

    def keep(self) -> EncodedImage:
        """Itself, with batches that were to be encoded when asked for encoded and kept."""
        self.stacks = [(axis, list(batches), inner) for axis, batches, inner in self.stacks]
        return self

    @property
    def nbytes(self) -> int:
        """Memory of the encodings in bytes."""
        tensors = (
            tensor
            for _, batches, _ in self.stacks
            for batch in batches
            for tensor in (
                batch.student,
                batch.backbone.class_token,
                *batch.backbone.features,
                *batch.backbone.tokens,
            )
        )
        return sum(tensor.nbytes for tensor in tensors)


@dataclass
class Prediction:
    """What is decoded from one image for one prompt.

    Attributes:
        probabilities: (K, *spatial) in [0, 1]; all zero for a label that is absent or not asked for.
        presence: (K,) probability that the label is present; the largest over the slices of a volume.
        readout: for each label, attribute -> {"value", "confidence"} nearest to its student embedding.
        asked: keywords the prompt asked for; all of them when text-free.
        prompts: the sentence that conditioned each label, with what else restricts its mask in brackets; ""
            where text-free.
        warnings: readable remarks on the prompt.
    """

    probabilities: Tensor
    presence: Tensor
    readout: list[dict[str, dict]]
    asked: tuple[str, ...]
    prompts: list[str] = field(default_factory=list)
    warnings: tuple[str, ...] = ()

    def with_background(self) -> Tensor:
        """Probabilities (K + 1, *spatial), background (one minus the largest) first."""
        background = 1 - self.probabilities.amax(dim=0, keepdim=True)
        return torch.cat([background, self.probabilities])

    def summary(self) -> dict:
        """Everything but the mask, as plain values for JSON."""
        return {
            "presence": [round(float(p), 4) for p in self.presence],
            "readout": self.readout,
            "asked": list(self.asked),
            "prompts": self.prompts,
            "warnings": list(self.warnings),
        }
