"""Baseline: chance, but spread over labels and over the predicted size of the object."""

from __future__ import annotations

import numpy as np

from .pool import Pool
from .strategy import Pick, Strategy

STRATA = ("small", "medium-sized", "large")
EMPTY_SHARE = 0.1  # of the picks: cases in which the model sees nothing may be its misses


class RandomForeground(Strategy):
    """Uniform choice within strata: each label in turn, each third of its predicted sizes in turn.

    A tenth of the picks goes to cases in which the model sees no object at all.
    """

    name = "random_foreground"
    description = "By chance, in equal parts over labels and predicted object sizes"

    def choose(
        self, pool: Pool, count: int, round_number: int, rng: np.random.Generator
    ) -> list[Pick]:
        """Draw from the strata in turn until there are enough."""
        strata = _strata(pool)
        empty = pool.candidates[pool.foreground[pool.candidates].sum(axis=1) == 0]
        empty_count = min(len(empty), round(EMPTY_SHARE * count))
        drawn = {
            int(i): "chosen by chance among images in which the model sees nothing"
            for i in rng.permutation(empty)[:empty_count]
        }
        queues = [(reason, list(rng.permutation(members))) for reason, members in strata]
        order = list(rng.permutation(len(queues)))
        while len(drawn) < count and any(members for _, members in queues):
            for number in order:
                reason, members = queues[number]
                while members and members[-1] in drawn:
                    members.pop()
                if members and len(drawn) < count:
                    drawn[int(members.pop())] = reason
        for i in rng.permutation(pool.candidates):  # the strata are used up
            if len(drawn) < count and int(i) not in drawn:
                drawn[int(i)] = "chosen by chance"
        return [Pick(pool.names[i], 0.0, reason) for i, reason in drawn.items()]


def _strata(pool: Pool) -> list[tuple[str, np.ndarray]]:
    """Reason and members of each stratum: thirds of the predicted size, for each label."""
    result = []
    candidates = pool.candidates
    for label, keyword in enumerate(pool.keywords):
        size = pool.foreground[candidates, label]
        present = candidates[size > 0]
        ordered = present[np.argsort(pool.foreground[present, label], kind="stable")]
        for word, members in zip(STRATA, np.array_split(ordered, len(STRATA)), strict=True):
            reason = f"chosen by chance among images with a {word} {keyword} as predicted"
            result.append((reason, members))
    return result
