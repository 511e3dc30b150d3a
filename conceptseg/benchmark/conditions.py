"""What a tested network may be told: nothing, a place, everything (oracle); and its predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..concepts import MeasuredConcepts, concepts_to_sentence
from ..inferer import ConceptInferer
from ..network import ConceptSegNet
from ..oracle import oracle_embeddings
from ..prediction import EncodedImage, Prediction
from ..slices import pad_to_multiple, slice_directions, volume_to_slices

TEXT_FREE = "text_free"
# Attributes said of the reference mask. All of them is the oracle; the place alone, or nothing but
# the keyword, is what a reader who glanced at the image could say.
_SAID = {
    "text_guided_oracle": None,
    "text_guided_location": ("location",),
    "text_guided_keyword": (),
}
ROI_ORACLE = "roi_oracle"  # the sentence and the concept token of the reference region: leaks
CONDITIONS = (TEXT_FREE, "no_condition", *_SAID, ROI_ORACLE)
NOTES = {
    TEXT_FREE: "the image alone",
    "no_condition": "the same network without any concept",
    "text_guided_oracle": "all concepts of the reference mask: analysis only",
    "text_guided_location": "keyword and place only",
    "text_guided_keyword": "keyword only",
    ROI_ORACLE: "concepts and concept token of the reference region: analysis only",
}


def check_conditions(names: Sequence[str]) -> None:
    """Raise ValueError for a condition that does not exist."""
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise ValueError(f"expected conditions out of {CONDITIONS}, got {unknown}")


def predict_conditions(
    image: Tensor,
    label: Tensor,
    network: ConceptSegNet,
    inferer: ConceptInferer,
    names: Sequence[str],
) -> dict[str, Prediction]:
    """Encode an image once and decode it under every condition.

    Args:
        image: (C, *spatial).
        label: (1, *spatial) reference, from which the guided conditions' prompts are measured.
        network: in evaluation mode.
        inferer: text-free, of the bundle.
        names: out of `CONDITIONS`.
    """
    check_conditions(names)
    free = inferer.copy(prompt=None, condition=TEXT_FREE)
    encoded = free.encode(image, network)
    results = {}
    for name in names:
        teachers = None
        if name in _SAID:
            teachers = oracle_embeddings(
                image,
                label,
                encoded,
                network,
                attributes=_SAID[name],
                minimum_size=free.minimum_size,
            )
        elif name == ROI_ORACLE:
            teachers = roi_embeddings(image, label, encoded, network, free.minimum_size)
        used = free.copy(condition="none") if name == "no_condition" else free
        results[name] = used.decode(encoded, network, teachers=teachers)
    return results


@torch.no_grad()
def roi_embeddings(
    image: Tensor,
    label: Tensor,
    encoded: EncodedImage,
    network: ConceptSegNet,
    minimum_size: int = 0,
) -> list[Tensor]:
    """Teacher embeddings as in training, sentence and concept token; one (N, K, E) per stack."""
    source, result = MeasuredConcepts(), []
    for axis, _, _ in encoded.stacks:
        context = network.slice_context
        words = ("right", "bottom") if axis is None else slice_directions(axis)
        images = image[None] if axis is None else volume_to_slices(image, axis, context)
        labels = label[None] if axis is None else volume_to_slices(label, axis)
        images, labels = (
            pad_to_multiple(torch.as_tensor(p), network.backbone.divisor, minimum_size)[0]
            for p in (images, labels)
        )
        masks = torch.cat(
            [labels == k + 1 for k in range(len(network.keywords))], dim=1
        )  # (N, K, H, W)
        middle = images if axis is None else images[:, context : context + 1]
        prompts = [
            "\n".join(
                concepts_to_sentence(source(one.cpu().numpy(), mask.cpu().numpy(), keyword, words))
                for keyword, mask in zip(network.keywords, of_labels, strict=True)
            )
            for one, of_labels in zip(middle, masks, strict=True)
        ]
        targets = {
            "mask": masks.float(),
            "prompt": prompts,
            "use_concept_token": torch.ones(masks.shape[:2], dtype=torch.bool, device=masks.device),
        }
        result.append(network.encode_teacher(images, targets))
    return result
