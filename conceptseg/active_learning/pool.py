"""All cases a strategy chooses from, as arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .records import CaseRecord


@dataclass(frozen=True)
class Pool:
    """Cases with their scores, and which of them are annotated or may be picked.

    Attributes:
        keywords: K label names.
        names: N case names.
        labelled: (N,) bool, annotated already.
        available: (N,) bool, may be picked; never an annotated one.
        encoder: (N, F).
        student: (N, K, E).
        entropy: (N, K).
        foreground: (N, K).
        concepts: (N, K, A) indices, -1 where unknown; those of annotated cases are the measured ones
            where these were given.
        disagreement: (N, K); NaN where it was not computed.
    """

    keywords: tuple[str, ...]
    names: tuple[str, ...]
    labelled: np.ndarray
    available: np.ndarray
    encoder: np.ndarray
    student: np.ndarray
    entropy: np.ndarray
    foreground: np.ndarray
    concepts: np.ndarray
    disagreement: np.ndarray

    @property
    def candidates(self) -> np.ndarray:
        """Indices of the cases that may be picked."""
        return np.flatnonzero(self.available)

    @classmethod
    def from_records(
        cls,
        records: Iterable[CaseRecord],
        keywords: Sequence[str],
        labelled: Mapping[str, np.ndarray | None] | Collection[str] = (),
        available: Collection[str] | None = None,
    ) -> Pool:
        """Put records together.

        Args:
            records: of all cases, annotated ones included; sorted by name here, so that their
                order of arrival changes no pick.
            keywords: K label names.
            labelled: names of the annotated cases; as a mapping, to the (K, A) concept indices
                measured in their labels, or None.
            available: names that may be picked; None: all that are not annotated.

        Raises:
            ValueError: no record, a name twice, or records of other labels.
        """
        records = sorted(records, key=lambda record: record.name)
        _check(records, len(keywords))
        names = tuple(record.name for record in records)
        is_labelled = np.array([name in labelled for name in names])
        is_available = ~is_labelled
        if available is not None:
            allowed = set(available)
            is_available &= np.array([name in allowed for name in names])
        arrays = {
            field: np.stack([getattr(record, field) for record in records])
            for field in ("encoder", "student", "entropy", "foreground", "concepts")
        }
        if isinstance(labelled, Mapping):
            for i, name in enumerate(names):
                if labelled.get(name) is not None:
                    arrays["concepts"][i] = labelled[name]
        unknown = np.full(len(keywords), np.nan)
        disagreement = [unknown if r.disagreement is None else r.disagreement for r in records]
        return cls(
            tuple(keywords),
            names,
            is_labelled,
            is_available,
            disagreement=np.stack(disagreement),
            **arrays,
        )


def _check(records: Sequence[CaseRecord], num_labels: int) -> None:
    """Refuse records that make no pool."""
    if not records:
        raise ValueError("expected at least one scored case, got none; score the images first")
    names = [record.name for record in records]
    twice = {a for a, b in pairwise(names) if a == b}
    if twice:
        raise ValueError(
            f"expected every case once, got {sorted(twice)[0]!r} twice; give cases different names"
        )
    for record in records:
        if len(record.entropy) != num_labels:
            raise ValueError(
                f"expected scores of {num_labels} labels, got {len(record.entropy)} for"
                f" {record.name!r}; score the images again with this model"
            )
