"""Files of weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor


def read_state(path: str | Path) -> dict[str, Tensor]:
    """State dict in a file of weights, on the CPU, no code run; also where it lies under "model", as checkpoints have it.

    Args:
        path: a bundle's models/model.pt, or a checkpoint of MONAI's CheckpointSaver.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    return dict(saved.get("model", saved))
