"""Training targets for networks without text: no concept is measured, so none is paid for."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from monai.transforms import Transform
from torch import Tensor

from ..concepts import ATTRIBUTES
from ..readout import UNKNOWN


class PlainTargetsd(Transform):
    """Takes the place of `ConceptPromptd`: the same keys, of which only "mask" says anything.

    Args:
        keywords: one per label value 1..K.
        label_key: (1, H, W) integer label map.
    """

    def __init__(self, keywords: Sequence[str], label_key: str = "label") -> None:
        self.keywords = tuple(keywords)
        self.label_key = label_key

    def __call__(self, data: dict[Hashable, Tensor]) -> dict:
        """Add the targets to `data`."""
        label = torch.as_tensor(data[self.label_key])
        count = len(self.keywords)
        masks = torch.cat([label == value for value in range(1, count + 1)])
        return dict(data) | {
            "mask": masks.float().clone(),
            "prompt": "\n" * (count - 1),
            "teacher_share": torch.tensor(0.0),
            "use_concept_token": torch.zeros(count, dtype=torch.bool),
            "null": torch.tensor(False),
            "faithful": torch.zeros(count, dtype=torch.bool),
            "attributes": torch.full((count, len(ATTRIBUTES)), UNKNOWN),
        }
