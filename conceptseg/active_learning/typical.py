"""Cold start: the most typical case of each group of images; no label needed."""

from __future__ import annotations

import warnings

import numpy as np

from .geometry import cluster, principal, squared_distances, standardised
from .pool import Pool
from .strategy import Pick, Strategy

NEIGHBOURS = 20  # as in the source
DIMENSIONS = 32
MAX_CLUSTERS = 100  # more make groups of chance
MIN_MEMBERS = 5  # smaller groups are outliers, as in the source


class Typical(Strategy):
    """Groups the images by encoder features and takes the most typical case of uncovered groups.

    TypiClust of Hacohen et al., "Active Learning on a Budget: Opposite Strategies Suit High and Low
    Budgets" (ICML 2022): as many clusters as cases will be annotated; those with the
    fewest annotated cases come first, the largest ahead, very small ones last; typical is a small mean distance to the nearest neighbours.
    """

    name = "typical"
    description = "The most typical image of each group of look-alikes; needs no labels"
    needs_weights = False

    def choose(
        self, pool: Pool, count: int, round_number: int, rng: np.random.Generator
    ) -> list[Pick]:
        """One case per group, group after group."""
        rows = principal(standardised(pool.encoder), DIMENSIONS)
        wanted = min(int(pool.labelled.sum()) + count, MAX_CLUSTERS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty cluster is no harm
            groups = cluster(rows, wanted, rng)
        sizes = np.bincount(groups, minlength=wanted)
        covered = np.bincount(groups[pool.labelled], minlength=wanted).astype(float)
        left = {g: int(pool.available[groups == g].sum()) for g in set(groups.tolist())}
        queues: dict[int, list[int]] = {}
        picks: list[Pick] = []
        while len(picks) < count:
            group = min(
                (g for g, number in left.items() if number),
                key=lambda g: (sizes[g] < MIN_MEMBERS, covered[g], -sizes[g], g),
            )
            if group not in queues:
                order = _most_typical_first(rows, np.flatnonzero(groups == group))
                queues[group] = [i for i in order if pool.available[i]]
            index = queues[group].pop(0)
            reason = _reason(int(sizes[group]), int(covered[group]))
            picks.append(Pick(pool.names[index], float(sizes[group]), reason))
            covered[group] += 1
            left[group] -= 1
        return picks


def _most_typical_first(rows: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Members of a group, smallest mean distance to their nearest neighbours first."""
    if len(members) < 3:
        return members
    near = min(NEIGHBOURS, len(members) - 1)
    # a huge group is compared with a sample of itself: the ranking hardly changes
    others = members[:: max(1, len(members) // 1000)]
    distances = np.sqrt(squared_distances(rows[members], rows[others]))
    mean = np.sort(distances, axis=1)[:, : near + 1].mean(axis=1)
    return members[np.argsort(mean, kind="stable")]


def _reason(size: int, covered: int) -> str:
    """Why the case of a group is picked."""
    if size == 1:
        return "unlike any other image"
    alike = f"typical of {size} images that look alike"
    if not covered:
        return f"{alike}; none of them is annotated yet"
    return f"{alike}; only {covered} of them annotated so far"
