"""The interface of all strategies: pool in, picks with their reasons out."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .pool import Pool


@dataclass(frozen=True)
class Pick:
    """A case to annotate next.

    Attributes:
        name: of the case.
        score: the strategy's own figure; larger is more wanted.
        reason: why, in words for the annotator.
    """

    name: str
    score: float
    reason: str


class Strategy(ABC):
    """Chooses which cases to annotate next.

    The same pool, round and seed give the same picks, so a choice can be repeated after a restart.

    Attributes:
        name: in commands, records and clients.
        description: one sentence for the clients.
        needs_scores: False when the choice looks at no score; then any pool will do.
        needs_weights: False when encoder features are enough, which a network without weights gives too.
        needs_disagreement: True when records must hold `disagreement`, which costs most.
    """

    name: str
    description: str
    needs_scores = True
    needs_weights = True
    needs_disagreement = False

    def pick(self, pool: Pool, count: int, round_number: int = 0, seed: int = 0) -> list[Pick]:
        """Up to `count` different cases, most wanted first.

        Args:
            pool: all cases.
            count: cases wanted, at least 1.
            round_number: 0 for the first choice; some strategies are more daring early on.
            seed: of every chance in the choice.

        Raises:
            ValueError: a count below 1.
        """
        if count < 1:
            raise ValueError(f"expected to pick 1 case or more, got {count}; raise the count")
        count = min(count, len(pool.candidates))
        if count == 0:
            return []
        key = [seed, round_number, zlib.crc32(self.name.encode())]
        return self.choose(pool, count, round_number, np.random.default_rng(key))

    @abstractmethod
    def choose(
        self, pool: Pool, count: int, round_number: int, rng: np.random.Generator
    ) -> list[Pick]:
        """What `pick` gives, for a `count` between 1 and the number of candidates."""


def power_noise(scores: np.ndarray, sharpness: float, rng: np.random.Generator) -> np.ndarray:
    """Noisy log scores: their largest is a draw with probability proportional to score ** sharpness.

    Kirsch et al., "Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning" (TMLR
    2023), power acquisition: log score plus a Gumbel variable over the sharpness.

    Args:
        scores: (N,), 0 upwards.
        sharpness: 1 is close to chance, large is close to the plain maximum.
        rng: source of chance.
    """
    return np.log(np.maximum(scores, 1e-9)) + rng.gumbel(size=len(scores)) / sharpness


def sharpness_of(round_number: int, start: float = 1.0, growth: float = 2.0) -> float:
    """Sharpness that grows with the rounds: early scores of a weak model deserve little trust."""
    return start * growth**round_number
