"""Accuracy benchmark: contestants on the same images, augmentation, budget and seeds; prompt analyses."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def start_script() -> None:
    """Let a benchmark script say what it does, and nothing else; call it before MONAI is imported."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger(__name__).setLevel(logging.INFO)
