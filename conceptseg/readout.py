"""Concept read-out: which attribute values lie nearest to an embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .concepts import ATTRIBUTES, Concepts, number_bin

UNKNOWN = -1  # index of an attribute that is not known


class ConceptReadout(nn.Module):
    """One learned prototype per attribute value; the nearest by cosine similarity is read out.

    Args:
        embed_dim: width E of the embeddings it reads.
        attributes: attribute -> closed list of values.
    """

    def __init__(
        self, embed_dim: int, attributes: Mapping[str, Sequence[str]] = ATTRIBUTES
    ) -> None:
        super().__init__()
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        total = sum(len(values) for values in self.attributes.values())
        self.prototypes = nn.Parameter(torch.randn(total, embed_dim))
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("seen", torch.zeros(total, dtype=torch.bool))

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """Scaled similarities of `embedding` (..., E): one tensor (..., values) per attribute."""
        similarity = F.linear(F.normalize(embedding, dim=-1), F.normalize(self.prototypes, dim=-1))
        sizes = [len(values) for values in self.attributes.values()]
        return list((similarity * self.log_scale.exp()).split(sizes, dim=-1))

    def observe(self, targets: Tensor) -> None:
        """Remember which values occur in training `targets` (..., A); only those are ever read out."""
        offset = 0
        for i, values in enumerate(self.attributes.values()):
            known = targets[..., i][targets[..., i] != UNKNOWN]
            self.seen[offset + known] = True
            offset += len(values)

    def read(self, embedding: Tensor, only: Sequence[str] | None = None) -> dict[str, dict]:
        """Read one embedding (E,).

        Args:
            embedding: (E,).
            only: the attributes to read; None: all.

        Returns:
            attribute -> {"value": nearest value, "confidence": its softmax share in [0, 1]}; without
            attributes that never occurred in training.
        """
        result = {}
        sizes = [len(values) for values in self.attributes.values()]
        seen_values = self.seen.split(sizes)
        for (name, values), logits, seen in zip(
            self.attributes.items(), self(embedding), seen_values, strict=True
        ):
            if (only is None or name in only) and bool(seen.any()):
                logits = logits.masked_fill(~seen, float("-inf"))
                confidence, index = logits.softmax(dim=-1).max(dim=-1)
                result[name] = {"value": values[int(index)], "confidence": float(confidence)}
        return result


def attribute_indices(
    concepts: Concepts,
    said: Mapping[str, str] | None = None,
    descriptors: Mapping[str, Sequence[str]] | None = None,
) -> list[int]:
    """Index of each value in its closed list, -1 if unknown: the `ATTRIBUTES`, then the descriptors.

    Args:
        concepts: values of the attributes.
        said: descriptor -> value.
        descriptors: closed lists of those the network knows.
    """
    indices = []
    for name, values in ATTRIBUTES.items():
        value = getattr(concepts, name)
        if name == "number" and value is not None:
            value = number_bin(value)
        indices.append(values.index(value) if value in values else UNKNOWN)
    for name, values in (descriptors or {}).items():
        value = (said or {}).get(name)
        indices.append(list(values).index(value) if value in values else UNKNOWN)
    return indices


def readout_loss(logits: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Mean cross-entropy over the known attributes.

    Args:
        logits: per attribute (..., values).
        targets: (..., A) int64, -1 where unknown.

    Returns:
        Scalar; 0 when nothing is known.
    """
    losses = [
        F.cross_entropy(
            scores.flatten(0, -2), targets[..., i].flatten(), ignore_index=UNKNOWN, reduction="sum"
        )
        for i, scores in enumerate(logits)
    ]
    return torch.stack(losses).sum() / (targets != UNKNOWN).sum().clamp(min=1)
