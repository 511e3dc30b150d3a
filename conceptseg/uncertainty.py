"""How sure a prediction is of each label: entropy, and agreement with other looks at the image."""

from __future__ import annotations

from itertools import combinations

import torch
from monai.metrics import compute_dice
from torch import Tensor

from .concepts.naming import names_a_side
from .inferer import ConceptInferer
from .network import ConceptSegNet
from .outline import expected_dice, knows_dice
from .prediction import Prediction


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
    """Uncertainty of the text-free mask of each label: 0 (sure) to 4.

    One minus the mean Dice of the mask with other opinions, the same of these with each other, and the entropy of
    the presence in bits. The other opinions are the masks of the mirrored images (`ConceptInferer.mirror_axes`), mirrored back; where
    there are none, or a keyword names a side, which mirroring would exchange, it is the mask without any
    condition. A network is as sure of its errors as of the rest, so entropy alone does not find them;
    but it seldom makes the same error twice. In images, a network that has learned how good its masks are
    (`OutlineChoice`) adds one minus the Dice that it expects.

    Args:
        image: (C, *spatial) on the network's grid.
        prediction: text-free, of `image`.
        network: that made it.
        inferer: that made it.
    """
    mask = (prediction.probabilities > 0.5).flatten(1)  # (K, voxels)
    others = torch.stack(other_opinions(image, network, inferer)).to(prediction.probabilities)
    others = (others > 0.5).flatten(2)  # (opinions, K, voxels)
    unsure = _binary_entropy(prediction.presence.float()) + _mean_error(
        mask.expand_as(others), others
    )
    if len(others) > 1:
        first, second = torch.triu_indices(len(others), len(others), offset=1)
        unsure = unsure + _mean_error(others[first], others[second])
    return (unsure + _expected_error(prediction.probabilities, network)).tolist()


def _mean_error(first: Tensor, second: Tensor) -> Tensor:
    """One minus the mean Dice (K,) of masks (N, K, voxels); two empty ones agree."""
    dice = compute_dice(first.float(), second.float(), ignore_empty=False)
    return 1 - dice.mean(dim=0)


def _expected_error(probabilities: Tensor, network: ConceptSegNet) -> Tensor:
    """One minus the expected Dice (K,) of masks (K, W, H); 0 for empty ones, and where nobody knows."""
    if probabilities.ndim > 3 or not knows_dice(network):
        return probabilities.new_zeros(len(probabilities))
    drawn = (probabilities > 0.5).flatten(1).any(dim=1)
    return torch.where(drawn, 1 - expected_dice(network, probabilities), 0)


def other_opinions(image: Tensor, network: ConceptSegNet, inferer: ConceptInferer) -> list[Tensor]:
    """Probabilities (K, *spatial) of other looks at `image` (C, *spatial); see `uncertainty`."""
    sided = any(map(names_a_side, network.keywords))
    axes = () if sided else tuple(inferer.mirror_axes)
    if not axes:
        inferer = inferer.copy(prompt=None, condition="none")
        return [inferer.predict_batch(image[None], network)[0].probabilities]
    free = inferer.copy(prompt=None, condition="text_free")
    found = []
    for chosen in (c for n in range(1, len(axes) + 1) for c in combinations(axes, n)):
        dims = [axis + 1 for axis in chosen]
        mirrored = free.predict_batch(torch.flip(image, dims)[None], network)[0]
        found.append(torch.flip(mirrored.probabilities, dims))
    return found


def _binary_entropy(p: Tensor) -> Tensor:
    """Entropy in bits of probabilities."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log2() + (1 - p) * (1 - p).log2())
