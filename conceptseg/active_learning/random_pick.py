"""Baseline: any case is as good as another."""

from __future__ import annotations

import numpy as np

from .pool import Pool
from .strategy import Pick, Strategy


class RandomPick(Strategy):
    """Uniform choice among the cases that may be picked."""

    name = "random"
    description = "Any image that is not annotated yet, by chance"
    needs_scores = False

    def choose(
        self, pool: Pool, count: int, round_number: int, rng: np.random.Generator
    ) -> list[Pick]:
        """A random subset."""
        chosen = rng.permutation(pool.candidates)[:count]
        return [Pick(pool.names[i], 0.0, "chosen by chance") for i in chosen]
