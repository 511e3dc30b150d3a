"""Where a mask ends: out of three outlines of the same logits, the one that looks best in this image."""

from __future__ import annotations

import torch
from monai.metrics import compute_dice
from torch import Tensor, nn
from torch.nn import functional as F

from .state import fit_part

OFFSETS = (0.0, -1.0, 1.0)  # of the logits: thresholds at probabilities of 0.5, 0.73 and 0.27
_LOOKS = 4
_EPSILON = 1e-6
_RIDGE = 1e-4


class OutlineChoice(nn.Module):
    """Moves the logits of every mask by the offset whose mask has the highest expected Dice.

    In one image a network draws beyond the object, in another it falls short, while over all images 0.5 is the
    best threshold. The expected Dice is a linear function of how a mask looks: the logarithm of its share of
    the image, the mean probability inside and the entropy by expected size. It is fitted by least squares to the
    masks of training, of which newer ones weigh more; images without the object teach nothing, because an
    empty mask is right there, and presence says so.

    Args:
        memory: training steps after which a mask weighs a third.

    Attributes:
        weight: (4,) of the linear function, the last one constant; zero before training, when nothing is moved.

    Example::

        outline = OutlineChoice()
        outline.learn(logits, mask)  # (B, K, H, W) each, in every training step
        outline(logits)  # (B, K, H, W)
    """

    def __init__(self, memory: int = 100) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("offsets", torch.tensor(OFFSETS), persistent=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("gram", torch.zeros(_LOOKS, _LOOKS))
        self.register_buffer("moment", torch.zeros(_LOOKS))
        self.register_buffer("weight", torch.zeros(_LOOKS))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (B, K, H, W), those of each mask moved by one of the offsets."""
        expected = self._expected(self._moved(logits))
        best = self.offsets[expected.argmax(dim=-1)]  # the first one, 0, where all are equal
        return logits + best[:, :, None, None].to(logits.dtype)

    @property
    def learned(self) -> bool:
        """Whether it has seen any mask."""
        return bool(self.weight.any())

    def expected_dice(self, logits: Tensor) -> Tensor:
        """Expected Dice (...) in [0, 1] of the masks of logits (..., H, W), once it has learned."""
        return self._expected(logits.float()).clamp(0, 1)

    def _expected(self, logits: Tensor) -> Tensor:
        """The linear function of each mask (..., H, W) of logits."""
        return (self._looks(logits) * self.weight).sum(dim=-1)

    @torch.no_grad()
    def learn(self, logits: Tensor, mask: Tensor) -> None:
        """Take in one step: logits (B, K, H, W) and the masks that they should have been; in training only."""
        present = mask.amax(dim=(2, 3)) > 0
        if not self.training or not present.any():
            return
        moved = self._moved(logits)[present]  # (n, 3, H, W)
        looks = self._looks(moved).flatten(0, 1)
        wanted = mask[present].unsqueeze(1).expand_as(moved)
        dice = compute_dice((moved > 0).float(), wanted.float()).flatten()
        self.steps += 1
        newest = max(1 / self.memory, 1 / int(self.steps))
        # products and means, because autocast would multiply matrices in half precision
        self.gram.lerp_((looks[:, :, None] * looks[:, None]).mean(dim=0), newest)
        self.moment.lerp_((looks * dice[:, None]).mean(dim=0), newest)
        ridge = _RIDGE * torch.eye(_LOOKS, dtype=torch.float64)
        solved = torch.linalg.solve(self.gram.double().cpu() + ridge, self.moment.double().cpu())
        self.weight.copy_(solved)

    def _moved(self, logits: Tensor) -> Tensor:
        """Logits (B, K, 3, H, W), moved by each offset."""
        return logits.detach().float().unsqueeze(2) + self.offsets[:, None, None]

    def _looks(self, logits: Tensor) -> Tensor:
        """What is seen of each mask (..., H, W) of logits: (..., 4)."""
        probability = logits.sigmoid()
        mask = (logits > 0).float()
        area = mask.mean(dim=(-2, -1))
        inside = (probability * mask).mean(dim=(-2, -1)) / area.clamp(min=_EPSILON)
        entropy = F.softplus(logits) - probability * logits
        unsure = entropy.sum(dim=(-2, -1)) / (probability.sum(dim=(-2, -1)) + 1)
        return torch.stack([(area + 1e-4).log(), inside, unsure, torch.ones_like(area)], dim=-1)


def knows_dice(network: nn.Module) -> bool:
    """Whether `network` has learned how good its masks are."""
    outline = getattr(network, "outline", None)
    return outline is not None and outline.learned


def expected_dice(network: nn.Module, probabilities: Tensor) -> Tensor:
    """Expected Dice (...) in [0, 1] of masks (..., W, H) of `network`, one that `knows_dice`."""
    return network.outline.expected_dice(probabilities.float().logit(eps=_EPSILON))


def best_masks(network: nn.Module, candidates: Tensor) -> Tensor:
    """Out of several masks for each label, the one of the highest expected Dice.

    An empty mask is never chosen over another: nobody knows what to expect of it.

    Args:
        network: that has drawn them and `knows_dice`.
        candidates: (N, K, W, H) probabilities.

    Returns:
        (K, W, H).
    """
    drawn = (candidates > 0.5).flatten(2).any(dim=2)  # (N, K)
    best = expected_dice(network, candidates).masked_fill(~drawn, -1).argmax(dim=0)
    return candidates[best, torch.arange(len(best), device=best.device)]


def fill_in_outline(network: nn.Module, state: dict, prefix: str, *_) -> None:
    """Let weights load with and without an outline choice; with those of before, nothing is moved."""
    own = {} if network.outline is None else network.outline.state_dict()
    fit_part(state, f"{prefix}outline.", {k: torch.zeros_like(v) for k, v in own.items()})
