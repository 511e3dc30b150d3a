"""Where the text-free mask and the masks under the model's own words differ."""

from __future__ import annotations

import numpy as np

from .geometry import nearest_distance, squared_distances, unit_rows
from .pool import Pool
from .strategy import Pick, Strategy, power_noise, sharpness_of
from .wording import case_words

SHORTLIST = 4  # cases considered for each one picked


class ConceptDisagreement(Strategy):
    """Cases with two ways to a mask that disagree, spread over the student's embedding space.

    What the student sees is read out as concepts; decoded under these words, a well-understood case
    gives the same mask again. A shortlist is drawn by that distance, with power noise that decays
    over the rounds; from it the cases farthest from all annotated and picked ones are taken, so that
    a batch holds no near-copies.
    """

    name = "concept_disagreement"
    description = "Images whose automatic mask changes when the model is told what it read in them"
    needs_disagreement = True

    def choose(
        self, pool: Pool, count: int, round_number: int, rng: np.random.Generator
    ) -> list[Pick]:
        """Shortlist by disagreement, then farthest first."""
        if np.isnan(pool.disagreement[pool.candidates]).any():
            raise ValueError(
                "expected records with disagreement, got some without; score with disagreement on"
            )
        candidates = pool.candidates
        noisy = power_noise(
            pool.disagreement[candidates].max(axis=1), sharpness_of(round_number), rng
        )
        shortlist = candidates[np.argsort(-noisy, kind="stable")[: SHORTLIST * count]]
        rows = unit_rows(pool.student)
        distance = nearest_distance(rows[shortlist], rows[pool.labelled])
        weight = np.sqrt(pool.disagreement[shortlist].max(axis=1) + 1e-3)
        picks: list[Pick] = []
        distance = np.where(np.isinf(distance), 2.0, distance)  # unit rows are at most 2 apart
        for _ in range(count):
            best = int(np.argmax(weight * distance))
            index = int(shortlist[best])
            picks.append(
                Pick(
                    pool.names[index],
                    float(pool.disagreement[index].max()),
                    self._reason(pool, index),
                )
            )
            added = np.sqrt(squared_distances(rows[shortlist], rows[index][None]))[:, 0]
            distance = np.minimum(distance, added)
            distance[best] = -1.0
        return picks

    @staticmethod
    def _reason(pool: Pool, index: int) -> str:
        """The words under which the mask changes, and by how much."""
        label = int(pool.disagreement[index].argmax())
        change = round(100 * float(pool.disagreement[index, label]))
        words = case_words(pool.concepts[index, label], pool.keywords[label])
        return f"the mask changes by {change} % when the model is told what it read ({words})"
