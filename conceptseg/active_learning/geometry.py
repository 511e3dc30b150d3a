"""Distances and clusters in feature space, fast enough for ten thousand cases."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2

AXES_SAMPLE = 1500  # rows from which principal axes are computed


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Features (N, ...) as centred rows (N, D) of length 1, float32; a constant row becomes zero."""
    rows = features.reshape(len(features), -1).astype(np.float32)
    rows = rows - rows.mean(axis=0)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def standardised(features: np.ndarray) -> np.ndarray:
    """Features (N, F) with mean 0 and deviation 1 in each column; constant columns become 0."""
    rows = features.astype(np.float32)
    rows = rows - rows.mean(axis=0)
    deviation = rows.std(axis=0)
    return rows / np.where(deviation > 1e-6, deviation, np.inf)


def squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, M) squared Euclidean distances of rows (N, D) and others (M, D)."""
    squares = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    return np.maximum(squares - 2 * rows @ others.T, 0)


def nearest_distance(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) distance of each row to the nearest of `others` (M, D); infinite when there is none."""
    best = np.full(len(rows), np.inf, dtype=np.float32)
    for part in np.array_split(others, max(1, len(others) // 512)):
        if len(part):
            best = np.minimum(best, squared_distances(rows, part).min(axis=1))
    return np.sqrt(best)


def principal(rows: np.ndarray, dimensions: int) -> np.ndarray:
    """Rows (N, D) in their first principal axes, (N, min(dimensions, D))."""
    if rows.shape[1] <= dimensions:
        return rows
    centred = rows - rows.mean(axis=0)
    sample = centred[:: max(1, len(rows) // AXES_SAMPLE)]
    _, axes = np.linalg.eigh(sample.T @ sample)
    return centred @ axes[:, ::-1][:, :dimensions]


def cluster(
    rows: np.ndarray, count: int, rng: np.random.Generator, iterations: int = 10
) -> np.ndarray:
    """Cluster number 0..count-1 of each row (N, D), by k-means.

    Some numbers stay unused when rows coincide.
    """
    count = min(count, len(rows))
    start = rows[rng.choice(len(rows), count, replace=False)]
    _, numbers = kmeans2(rows, start, iter=iterations, minit="matrix", missing="warn")
    return numbers
