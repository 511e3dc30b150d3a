"""Oracle prompts: concepts measured on the reference mask. For analysis, never for a user's result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .concepts import MeasuredConcepts, concepts_to_sentence
from .concepts.measured import is_color
from .network import ConceptSegNet
from .prediction import EncodedImage
from .slices import pad_to_multiple, slice_directions, volume_to_slices


@torch.no_grad()
def oracle_embeddings(
    image: Tensor,
    label: Tensor,
    encoded: EncodedImage,
    network: ConceptSegNet,
    directions: Sequence[str] = ("right", "bottom"),
    attributes: Sequence[str] | None = None,
    minimum_size: int = 0,
) -> list[Tensor]:
    """Prompt embeddings of the measured concepts of every label in every slice.

    Args:
        image: (C, *spatial), as encoded.
        label: (1, *spatial) reference label map.
        encoded: of `image`.
        network: the network that encoded it.
        directions: words for the axes of a 2-D image.
        attributes: the attributes to say; None: all. ["location"] makes a partial prompt.
        minimum_size: of the inferer that encoded it.

    Returns:
        One tensor (N, K, E) for each entry of `encoded.stacks`.
    """
    source = MeasuredConcepts()
    color = is_color(image)
    result = []
    for axis, _, _ in encoded.stacks:
        words = tuple(directions) if axis is None else slice_directions(axis)
        planes = [
            torch.as_tensor(x)[None] if axis is None else volume_to_slices(x, axis)
            for x in (image, label)
        ]
        divisor = network.backbone.divisor
        images, labels = (
            pad_to_multiple(torch.as_tensor(p), divisor, minimum_size)[0].cpu().numpy()
            for p in planes
        )
        sentences = [
            _sentence(
                source, plane if color else plane[:1], mask[0] == value, keyword, words, attributes
            )
            for plane, mask in zip(images, labels, strict=True)
            for value, keyword in enumerate(network.keywords, start=1)
        ]
        embedding = network.encode_prompts(sentences)
        result.append(embedding.view(len(images), len(network.keywords), -1))
    return result


def _sentence(
    source: MeasuredConcepts,
    image: np.ndarray,
    mask: np.ndarray,
    keyword: str,
    directions: Sequence[str],
    attributes: Sequence[str] | None,
) -> str:
    """Sentence of one measured label."""
    concepts = source(image, mask, keyword, directions)
    said = concepts.model_dump(exclude={"keyword"}, exclude_none=True)
    drop = [] if attributes is None else [name for name in said if name not in attributes]
    return concepts_to_sentence(concepts, drop=drop)
