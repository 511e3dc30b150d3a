"""Prompts from a region a user marked: its concepts are measured and its concept token is mapped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .concepts import MeasuredConcepts, concepts_to_sentence
from .concepts.measured import is_color
from .network import ConceptSegNet
from .prediction import EncodedImage
from .slices import pad_to_multiple, slice_directions, volume_to_slices


@torch.no_grad()
def roi_embeddings(
    image: Tensor,
    roi: Tensor,
    encoded: EncodedImage,
    network: ConceptSegNet,
    directions: Sequence[str] = ("right", "bottom"),
    minimum_size: int = 0,
) -> list[Tensor]:
    """Prompt embeddings of marked regions: measured concepts as a sentence, with the concept token.

    A label without a region in a slice keeps its student embedding there, so it stays text-free.

    Args:
        image: (C, *spatial), as encoded.
        roi: (K, *spatial) bool, one region per label; empty where nothing is marked.
        encoded: of `image`.
        network: the network that encoded it.
        directions: words for the axes of a 2-D image.
        minimum_size: of the inferer that encoded it.

    Returns:
        One tensor (N, K, E) for each entry of `encoded.stacks`, for `ConceptInferer.decode`.

    Raises:
        ValueError: a region that does not fit the image or the labels.
    """
    if tuple(roi.shape) != (len(network.keywords), *image.shape[1:]):
        raise ValueError(
            f"expected regions of shape {(len(network.keywords), *image.shape[1:])}, got"
            f" {tuple(roi.shape)}; give one mask per label on the image's grid"
        )
    result = []
    for axis, batches, _ in encoded.stacks:
        words = tuple(directions) if axis is None else slice_directions(axis)
        images, regions = image[None], roi[None]
        if axis is not None:
            images = volume_to_slices(image, axis, network.slice_context)
            regions = volume_to_slices(roi, axis)
        divisor = network.backbone.divisor
        images = pad_to_multiple(images, divisor, minimum_size)[0]
        regions = pad_to_multiple(regions.float(), divisor, minimum_size)[0]
        embeddings = torch.cat([b.student for b in batches]).clone()  # (N, K, E)
        marked = regions.amax(dim=(2, 3)) > 0  # (N, K)
        for i in torch.nonzero(marked.any(dim=1)).flatten().tolist():
            teacher = _teacher(images[i], regions[i], network, words, axis is not None)
            embeddings[i, marked[i]] = teacher[marked[i]].to(embeddings)
        result.append(embeddings)
    return result


def _teacher(
    image: Tensor,
    regions: Tensor,
    network: ConceptSegNet,
    directions: Sequence[str],
    is_slice: bool,
) -> Tensor:
    """Prompt embeddings (K, E) of the regions (K, H, W) of one slice or photograph (C, H, W)."""
    source = MeasuredConcepts()
    middle = image.shape[0] // 2
    color = not is_slice and is_color(image)  # a slice's channels are its neighbours
    shown = image if color else image[middle : middle + 1]
    shown = shown.cpu().numpy()
    sentences = [
        concepts_to_sentence(source(shown, mask.cpu().numpy() > 0, keyword, directions))
        for mask, keyword in zip(regions, network.keywords, strict=True)
    ]
    device = network.null_embedding.device
    targets = {
        "mask": regions[None].to(device),
        "prompt": ["\n".join(sentences)],
        "use_concept_token": (regions.amax(dim=(1, 2)) > 0)[None].to(device),
    }
    return network.encode_teacher(image[None].to(device), targets)[0]
