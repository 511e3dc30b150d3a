"""A tiny network and two-disc phantoms, shared by tests."""

import numpy as np
import torch

from conceptseg.backbones import CompactBackbone
from conceptseg.decoder import PyramidDecoder
from conceptseg.network import ConceptSegNet
from conceptseg.prompts import CompactTextEncoder

CHANNELS = (8, 8, 16)


def small_network(
    keywords=("polyp",), in_channels=3, skip=True, map_size=4, channels=CHANNELS, **switches
) -> ConceptSegNet:
    """A `ConceptSegNet` of a few ten thousand parameters; divisor 4."""
    return ConceptSegNet(
        keywords,
        CompactBackbone(in_channels, channels, num_layers=1, grid_size=4),
        CompactTextEncoder(keywords, 16, 24, num_layers=1, num_heads=2),
        PyramidDecoder(channels, 24, skip=skip, map_size=map_size),
        **switches,
    )


def discs(random: np.random.Generator, size: int = 24, sides=("left", "right")) -> tuple:
    """A red disc in each of the sides: image (3, size, size) and label (1, size, size), xy order."""
    label = np.zeros((size, size), dtype=bool)
    x, y = np.mgrid[:size, :size]
    for side in sides:
        centre = size / 6 if side == "left" else 5 * size / 6
        row = random.uniform(0.4 * size, 0.6 * size)  # "left" or "right", never a corner
        label |= (x - centre) ** 2 + (y - row) ** 2 < (size / 8) ** 2
    image = np.where(label[None], [[[0.8]], [[0.2]], [[0.2]]], [[[0.4]], [[0.4]], [[0.4]]])
    image = image + random.normal(0, 0.03, image.shape)
    return torch.tensor(image, dtype=torch.float32), torch.tensor(label[None], dtype=torch.float32)


def targets(keywords=("polyp",), masks=None, share=0.0, **changes) -> dict:
    """Training targets for masks (B, K, H, W), as `ConceptPromptd` collates them."""
    count, labels = masks.shape[:2]
    result = {
        "mask": masks,
        "prompt": ["\n".join(f"1 {k}" for k in keywords)] * count,
        "teacher_share": torch.full((count,), float(share)),
        "use_concept_token": torch.ones(count, labels, dtype=torch.bool),
        "null": torch.zeros(count, dtype=torch.bool),
        "faithful": torch.ones(count, labels, dtype=torch.bool),
        "attributes": torch.zeros(count, labels, 8, dtype=torch.int64),
    }
    return result | changes
