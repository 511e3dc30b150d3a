"""How sure a prediction is of each label: entropy of its mask and of its presence."""

from __future__ import annotations

from torch import Tensor

from .inferer import Prediction


def size_normalised_entropy(prediction: Prediction) -> Tensor:
    """Uncertainty (K,) of each label, 0 (sure) upwards.

    Entropy in bits, summed over the voxels and divided by the expected number of object voxels plus
    one, plus the entropy of the presence: large objects are not more uncertain for being large.
    """
    p = prediction.probabilities.float()
    spatial = tuple(range(1, p.ndim))
    share = _binary_entropy(p).sum(dim=spatial) / (p.sum(dim=spatial) + 1)
    return share + _binary_entropy(prediction.presence.float())


def uncertainty(prediction: Prediction) -> list[float]:
    """`size_normalised_entropy` as plain numbers."""
    return size_normalised_entropy(prediction).tolist()


def _binary_entropy(p: Tensor) -> Tensor:
    """Entropy in bits of probabilities."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log2() + (1 - p) * (1 - p).log2())
