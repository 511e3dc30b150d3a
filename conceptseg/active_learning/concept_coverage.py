"""Which combinations of concepts has no annotated case shown yet?"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ..concepts import ATTRIBUTES
from .pool import Pool
from .records import ATTRIBUTE_NAMES, UNKNOWN
from .strategy import Pick, Strategy
from .wording import ABSENT, combination_words

_NUMBER = ATTRIBUTE_NAMES.index("number")
_WEIGHTS = {1: 1.0, 2: 1.0, 3: 0.5}  # of single values, pairs and triples of values
_BASE = max(len(values) for values in ATTRIBUTES.values())
Meaning = tuple[int, tuple[int, ...], int]  # label, attributes, and their values as one number
_NOTHING = 0  # element that fills rows and never counts
DRAWN = 3  # cases drawn by chance for every pick


class ConceptCoverage(Strategy):
    """Greedy cover of concept combinations: single values, pairs and triples of each label.

    A combination is worth the square root of its share of the pool, so that common ones come first
    and rare ones still count; each annotated case that shows it lowers its worth for the next one,
    as 1, 1/2, 1/3 and so on. Each pick is the best of a few cases drawn by chance: the best of the whole
    pool are its odd cases, and what leaves the pool's own mixture teaches less (chance kept in the
    choice: Gaillochet et al., "Active learning for medical image segmentation with stochastic batches",
    Medical Image Analysis 2023).
    """

    name = "concept_coverage"
    description = "Images with combinations of size, place, shape and tone not annotated yet"

    def choose(
        self, pool: Pool, count: int, round_number: int, rng: np.random.Generator
    ) -> list[Pick]:
        """Of a few cases drawn by chance the one that adds most, again and again."""
        elements, meaning = _elements(pool)
        total = len(meaning)
        share = np.bincount(elements.ravel(), minlength=total) / len(pool.names)
        size = np.array([len(attributes) for _, attributes, _ in meaning])
        worth = np.sqrt(share) * np.array([0.0, *(_WEIGHTS[s] for s in size[1:])])
        seen = np.bincount(elements[pool.labelled].ravel(), minlength=total).astype(float)
        candidates = pool.candidates
        rows = elements[candidates]
        gain = (worth / (1 + seen))[rows].sum(axis=1)
        left = np.arange(len(candidates))
        picks = []
        for _ in range(count):
            drawn = rng.permutation(len(left))[:DRAWN]  # ties fall by chance too
            chosen = drawn[np.argmax(gain[left[drawn]])]
            best = int(left[chosen])
            left = np.delete(left, chosen)
            own = rows[best]
            reason = _reason(pool.keywords, own, meaning, worth, seen)
            picks.append(Pick(pool.names[candidates[best]], float(gain[best]), reason))
            # what shares an element with the pick has become worth less
            loss = worth[own] / (1 + seen[own]) - worth[own] / (2 + seen[own])
            gain -= (rows == own) @ loss
            seen[own] += 1
        return picks


def _elements(pool: Pool) -> tuple[np.ndarray, list[Meaning]]:
    """Combinations of each case as numbers (N, M), 0 where there is none; and their meaning.

    Of an absent label only the absence counts.
    """
    columns: list[np.ndarray] = []
    meaning: list[Meaning] = [(-1, (), 0)]
    for label in range(len(pool.keywords)):
        values = pool.concepts[:, label].copy()  # (N, A)
        absent = values[:, _NUMBER] == ABSENT
        values[absent] = UNKNOWN
        values[absent, _NUMBER] = ABSENT
        used = [a for a in range(values.shape[1]) if (values[:, a] != UNKNOWN).any()]
        for size in _WEIGHTS:
            for attributes in combinations(used, size):
                chosen = values[:, attributes]
                known = (chosen != UNKNOWN).all(axis=1)
                column = np.zeros(len(values), dtype=np.int64)
                # counted, not sorted: numbering ten thousand rows must take no time
                codes = chosen[known] @ _BASE ** np.arange(size)
                present = np.flatnonzero(np.bincount(codes))
                numbers = np.zeros(_BASE**size, dtype=np.int64)
                numbers[present] = len(meaning) + np.arange(len(present))
                column[known] = numbers[codes]
                meaning += [(label, attributes, int(code)) for code in present]
                columns.append(column)
    if not columns:
        columns = [np.zeros(len(pool.names), dtype=np.int64)]
    return np.stack(columns, axis=1), meaning


def _reason(
    keywords: tuple[str, ...],
    own: np.ndarray,
    meaning: list[Meaning],
    worth: np.ndarray,
    seen: np.ndarray,
) -> str:
    """The most telling combination of a case that no, or hardly any, annotated case shows."""
    own = own[own != _NOTHING]
    if not len(own):
        return "nothing could be read in this image yet"
    fewest = seen[own].min()
    rarest = own[seen[own] == fewest]
    best = max(rarest, key=lambda element: (worth[element], -element))
    label, attributes, code = meaning[best]
    values = tuple((a, code // _BASE**i % _BASE) for i, a in enumerate(attributes))
    if values == ((_NUMBER, ABSENT),):
        what = f"no {keywords[label]}"
    else:
        what = f"{keywords[label]} {combination_words(values)}"
    if fewest == 0:
        return f"{what}: no such case annotated yet"
    return f"{what}: only {int(fewest)} such case{'s' if fewest > 1 else ''} annotated so far"
