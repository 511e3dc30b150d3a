"""Uncertainty that is fair to small labels and does not trust a weak model too early."""

from __future__ import annotations

import numpy as np

from .pool import Pool
from .strategy import Pick, Strategy, power_noise, sharpness_of

STRATIFIED_SHARE = 2 / 3  # of the picks go to the labels in turn, the rest to the largest overall
FAINT = 1e-4  # share of the image; a label covering less counts as not seen


class ClaspEntropy(Strategy):
    """Size-normalised entropy, label by label, with power noise that decays over the rounds.

    After ClaSP PE of Lüth et al., "Finally Outshining the Random Baseline" (arXiv 2601.13677): without
    strata, entropy picks the frequent label's hard cases only; without noise, the first batches are
    near-copies of one another.
    """

    name = "clasp_entropy"
    description = "Images whose masks are least certain, each label in turn, with some chance early"

    def choose(
        self, pool: Pool, count: int, round_number: int, rng: np.random.Generator
    ) -> list[Pick]:
        """Each label's most uncertain cases in turn, then the most uncertain overall."""
        candidates = pool.candidates
        sharpness = sharpness_of(round_number)
        orders = []
        for label in range(len(pool.keywords)):
            seen = candidates[pool.foreground[candidates, label] > FAINT]
            noisy = power_noise(pool.entropy[seen, label], sharpness, rng)
            orders.append([int(i) for i in seen[np.argsort(-noisy, kind="stable")]])
        overall = power_noise(pool.entropy[candidates].max(axis=1), sharpness, rng)
        rest = [int(i) for i in candidates[np.argsort(-overall, kind="stable")]]
        drawn: dict[int, int] = {}
        stratified = round(STRATIFIED_SHARE * count)
        while len(drawn) < stratified and any(orders):
            for label, order in enumerate(orders):
                while order and order[0] in drawn:
                    order.pop(0)
                if order and len(drawn) < stratified:
                    drawn[order.pop(0)] = label
        for index in rest:
            if len(drawn) < count and index not in drawn:
                drawn[index] = int(pool.entropy[index].argmax())
        return [
            Pick(pool.names[i], float(pool.entropy[i, k]), self._reason(pool, i, k))
            for i, k in drawn.items()
        ]

    @staticmethod
    def _reason(pool: Pool, index: int, label: int) -> str:
        """The label in doubt, and how it ranks."""
        below = float((pool.entropy[:, label] < pool.entropy[index, label]).mean())
        return (
            f"the outline of the {pool.keywords[label]} is less certain than in"
            f" {round(100 * below)} % of the images"
        )
