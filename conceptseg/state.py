"""Files of weights, and weights of networks with parts that others lack."""

from __future__ import annotations

from collections.abc import Mapping
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


def fit_part(state: dict[str, Tensor], prefix: str, own: Mapping[str, Tensor]) -> None:
    """Let `state` hold of one part of a network what the network has of it, in place.

    Args:
        state: weights that are about to be loaded.
        prefix: of the part's names in `state`, with its dot.
        own: what the network has of the part, without the prefix; stands in for what `state` lacks.
    """
    for name in [k for k in state if k.startswith(prefix) and k.removeprefix(prefix) not in own]:
        del state[name]
    for name, value in own.items():
        state.setdefault(f"{prefix}{name}", value)
