"""How sure a prediction is of each label: entropy, and agreement with a second look at the image."""

from __future__ import annotations

import torch
from torch import Tensor

from .concepts.naming import names_a_side
from .inferer import ConceptInferer, Prediction
from .network import ConceptSegNet


def size_normalised_entropy(prediction: Prediction) -> Tensor:
    """Entropy (K,) of each label, 0 (sure) upwards, which strategies pick by.

    In bits, summed over the voxels and divided by the expected number of object voxels plus one,
    plus the entropy of the presence: large objects are not more uncertain for being large.
    """
    p = prediction.probabilities.float()
    spatial = tuple(range(1, p.ndim))
    share = _binary_entropy(p).sum(dim=spatial) / (p.sum(dim=spatial) + 1)
    return share + _binary_entropy(prediction.presence.float())


def uncertainty(
    image: Tensor, prediction: Prediction, network: ConceptSegNet, inferer: ConceptInferer
) -> list[float]:
    """Uncertainty of the text-free mask of each label: 0 (sure) to 2.

    One minus the Dice of the mask and a second opinion's, plus the entropy of the presence in bits. The
    second opinion is the mask of the mirrored image, mirrored back; where a keyword names a side, which
    mirroring would exchange, it is the mask without any condition. A network is as sure of its errors
    as of the rest, so entropy alone does not find them; but it seldom makes the same error twice.

    Args:
        image: (C, *spatial) on the network's grid; the first spatial axis runs from side to side.
        prediction: text-free, of `image`.
        network: that made it.
        inferer: that made it.
    """
    second = second_opinion(image, network, inferer)
    masks = torch.stack([prediction.probabilities, second.to(prediction.probabilities)]) > 0.5
    first, second = masks.flatten(2)  # (K, voxels)
    both, total = (first & second).sum(dim=1), first.sum(dim=1) + second.sum(dim=1)
    dice = torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0)
    return (1 - dice + _binary_entropy(prediction.presence.float())).tolist()


def second_opinion(image: Tensor, network: ConceptSegNet, inferer: ConceptInferer) -> Tensor:
    """Probabilities (K, *spatial) of another look at `image` (C, *spatial); see `uncertainty`."""
    if any(map(names_a_side, network.keywords)):
        inferer = inferer.copy(prompt=None, condition="none")
        return inferer.predict_batch(image[None], network)[0].probabilities
    free = inferer.copy(prompt=None, condition="text_free")
    mirrored = free.predict_batch(torch.flip(image, [1])[None], network)[0]
    return torch.flip(mirrored.probabilities, [1])


def _binary_entropy(p: Tensor) -> Tensor:
    """Entropy in bits of probabilities."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log2() + (1 - p) * (1 - p).log2())
