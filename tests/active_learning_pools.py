"""Pools of cases with known answers, shared by tests of strategies."""

import numpy as np

from conceptseg.active_learning import ATTRIBUTE_NAMES, CaseRecord, Pool
from conceptseg.concepts import ATTRIBUTES
from conceptseg.readout import UNKNOWN

KEYWORDS = ("polyp",)


def concept_indices(keyword_values: list[dict]) -> np.ndarray:
    """(K, A) indices of attribute words, one dictionary per label."""
    return np.array(
        [
            [
                ATTRIBUTES[name].index(values[name]) if name in values else UNKNOWN
                for name in ATTRIBUTE_NAMES
            ]
            for values in keyword_values
        ]
    )


def make_record(name: str, labels: int = 1, **changes) -> CaseRecord:
    """A record with nothing remarkable about it, but for `changes`."""
    content = {
        "encoder": np.zeros(4, dtype=np.float32),
        "student": np.zeros((labels, 3), dtype=np.float32),
        "entropy": np.full(labels, 0.5, dtype=np.float32),
        "foreground": np.full(labels, 0.1, dtype=np.float32),
        "concepts": np.full((labels, len(ATTRIBUTE_NAMES)), UNKNOWN),
        "disagreement": np.full(labels, 0.1, dtype=np.float32),
    }
    return CaseRecord(name=name, **(content | changes))


def make_pool(records, keywords=KEYWORDS, labelled=(), available=None) -> Pool:
    """Pool of records."""
    return Pool.from_records(records, keywords, labelled, available)
