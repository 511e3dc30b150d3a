"""Training loss: segmentation, distillation, presence, concept map and read-out."""

from __future__ import annotations

import torch
from monai.losses import DeepSupervisionLoss, DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from .distillation import DISTILLATION_KINDS, distillation_loss
from .readout import readout_loss


class ConceptSegLoss(nn.Module):
    """Weighted sum of the losses of `ConceptSegNet`'s training output.

    Dice (over the batch, so that empty masks do not dominate it) and binary cross-entropy on mask
    logits; the student's distance to the teacher where the prompt describes the whole label;
    presence and coarse concept map as binary cross-entropy; cross-entropy of the read-out.

    Args:
        distillation: "cosine", "l2", "kl" (the paper's) or "none".
        distillation_weight: the paper uses 10 with "kl".
        temperature: of "kl".
        presence_weight: 0 leaves presence untrained.
        map_weight: weight of the concept map.
        readout_weight: weight of the read-out.
        side_weight: weight of Dice and cross-entropy of the finest of the coarser masks that a decoder with
            deep supervision gives; each next one counts half. Their targets are the mask's mean in each
            cell.
    """

    def __init__(
        self,
        distillation: str = "cosine",
        distillation_weight: float = 1.0,
        temperature: float = 1.0,
        presence_weight: float = 0.2,
        map_weight: float = 0.2,
        readout_weight: float = 0.1,
        side_weight: float = 0.5,
    ) -> None:
        super().__init__()
        if distillation not in DISTILLATION_KINDS:
            raise ValueError(
                f"expected a distillation kind out of {DISTILLATION_KINDS}, got {distillation!r}"
            )
        self.distillation = distillation
        self.distillation_weight = distillation_weight
        self.temperature = temperature
        self.presence_weight = presence_weight
        self.map_weight = map_weight
        self.readout_weight = readout_weight
        self.side_weight = side_weight
        self.dice = DiceLoss(sigmoid=True, batch=True)
        self.soft_dice = DiceLoss(sigmoid=True, batch=True, soft_label=True)
        self.side_loss = DeepSupervisionLoss(self._coarse_loss)
        # small objects would be lost between the nearest pixels
        self.side_loss.interp_mode = "area"

    def _coarse_loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Dice and binary cross-entropy of a coarse mask; cells at a border are between 0 and 1."""
        return self.soft_dice(logits, mask) + F.binary_cross_entropy_with_logits(logits, mask)

    def forward(self, outputs: dict, targets: dict) -> Tensor:
        """Loss of one batch.

        Args:
            outputs: `ConceptSegNet.forward` with targets; the parts of the loss are added to it under
                "losses" (detached scalars). Its "mask", where it has one, says what the logits should be.
            targets: "mask" (B, K, H, W), "faithful" (B, K) bool, "attributes" (B, K, A) int64.

        Returns:
            Scalar.
        """
        mask = outputs.get("mask", targets["mask"]).to(outputs["logits"].dtype)
        present = mask.amax(dim=(2, 3))
        losses = {
            "dice": self.dice(outputs["logits"], mask),
            "bce": F.binary_cross_entropy_with_logits(outputs["logits"], mask),
        }
        if outputs.get("sides"):
            losses["sides"] = self.side_weight * self.side_loss(outputs["sides"], mask)
        faithful = targets["faithful"].to(mask.dtype)
        if self.distillation != "none":
            distance = distillation_loss(
                outputs["student"], outputs["teacher"], self.distillation, self.temperature
            )
            mean = (distance * faithful).sum() / faithful.sum().clamp(min=1)
            losses["distillation"] = self.distillation_weight * mean
        if outputs["presence"] is not None and self.presence_weight:
            bce = F.binary_cross_entropy_with_logits(outputs["presence"], present)
            losses["presence"] = self.presence_weight * bce
        if outputs["map"] is not None and self.map_weight:
            coarse = F.adaptive_max_pool2d(mask, outputs["map"].shape[2:])
            bce = F.binary_cross_entropy_with_logits(outputs["map"], coarse)
            losses["map"] = self.map_weight * bce
        if self.readout_weight:
            known = targets["attributes"]
            of_prompt = known.masked_fill(~targets["faithful"][..., None], -1)
            both = readout_loss(outputs["readout_student"], known)
            both = both + readout_loss(outputs["readout_teacher"], of_prompt)
            losses["readout"] = self.readout_weight * both
        outputs["losses"] = {name: value.detach() for name, value in losses.items()}
        return torch.stack(list(losses.values())).sum()
