"""How far a source of concepts agrees with what the masks say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from ..concepts import MeasuredConcepts, number_bin
from ..concepts.schema import Concepts
from ..grid import directions_of, spacing_of
from .store import Described, Key

COMPARED = ("number", "location", "size", "shape", "color", "intensity", "level", "laterality")


@dataclass(frozen=True)
class Agreement:
    """Agreement of one attribute with the measured truth.

    Attributes:
        labels: with a truth for this attribute.
        answered: share of them for which the source says something.
        accuracy: share of the answered that are right.
        majority: share that would be right of the same labels by always giving the commonest truth.
        off_majority: accuracy where the truth is another; None if it never is.
        kappa: Cohen's, of the answered; 0 is chance. None where truth and answers are all alike.
        entropy: of the answers in bits; 0 means that one word is always said.
        truth_entropy: of the truth in bits.
    """

    labels: int
    answered: float
    accuracy: float
    majority: float
    off_majority: float | None
    kappa: float | None
    entropy: float
    truth_entropy: float


def measure_truth(dataset, names: Sequence[str], keywords: Sequence[str]) -> dict[Key, Concepts]:
    """Concepts measured on the masks of a data set, with progress.

    Args:
        dataset: gives "image" and "label" of each case.
        names: of the cases, in the same order.
        keywords: one per label value 1..K.

    Returns:
        (case, keyword) -> concepts, without absent labels.
    """
    measured, truth = MeasuredConcepts(), {}
    for i, name in enumerate(tqdm(names, desc="measuring", unit="case")):
        data = dataset[i]
        image, label = np.asarray(data["image"]), np.asarray(data["label"])[0]
        axes, spacing = directions_of(data["image"]), spacing_of(data["image"])
        for value, keyword in enumerate(keywords, start=1):
            if (label == value).any():
                truth[name, keyword] = measured(image, label == value, keyword, axes, spacing)
    return truth


def agreement(said: Mapping[Key, Described], truth: Mapping[Key, Concepts]) -> dict[str, Agreement]:
    """Agreement by attribute, of the attributes that both know.

    Args:
        said: what `load_concepts` gives.
        truth: what `measure_truth` gives.

    Raises:
        ValueError: no label in common.
    """
    common = [key for key in truth if key in said]
    if not common:
        raise ValueError(
            f"expected descriptions of the {len(truth)} labels of the data set, got none among"
            f" {len(said)}; give the dataset_dir that the concept file was made with"
        )
    result = {}
    for name in COMPARED:
        pairs = [
            (_word(name, truth[key]), _word(name, said[key].description.concepts()))
            for key in common
        ]
        pairs = [(true, answer) for true, answer in pairs if true is not None]
        if any(answer is not None for _, answer in pairs):
            result[name] = _agree(pairs)
    return result


def _word(name: str, concepts: Concepts) -> str | None:
    """Value of an attribute as a word of its closed list."""
    value = getattr(concepts, name)
    return number_bin(value) if name == "number" and value is not None else value


def _agree(pairs: Sequence[tuple[str, str | None]]) -> Agreement:
    """Figures of (truth, answer) pairs."""
    answered = [(t, a) for t, a in pairs if a is not None]
    truths, answers = (Counter(side) for side in zip(*answered, strict=True))
    count = len(answered)
    accuracy = sum(t == a for t, a in answered) / count
    commonest = Counter(t for t, _ in pairs).most_common(1)[0][0]
    rest = [(t, a) for t, a in answered if t != commonest]
    chance = sum(truths[word] * answers[word] for word in truths) / count**2
    return Agreement(
        labels=len(pairs),
        answered=count / len(pairs),
        accuracy=accuracy,
        majority=truths[commonest] / count,
        off_majority=sum(t == a for t, a in rest) / len(rest) if rest else None,
        kappa=(accuracy - chance) / (1 - chance) if chance < 1 else None,
        entropy=entropy(answers),
        truth_entropy=entropy(truths),
    )


def entropy(counts: Mapping[str, int]) -> float:
    """Entropy in bits."""
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values() if n) + 0.0


def descriptor_counts(said: Mapping[Key, Described]) -> dict[str, Counter]:
    """What is said of each attribute or descriptor, unclear included, with the number of labels."""
    counts: dict[str, Counter] = {}
    for found in said.values():
        for name, value in found.description.values.items():
            counts.setdefault(name, Counter())[str(value.value)] += 1
    return counts


def as_plain(figures: Mapping[str, Agreement]) -> dict[str, dict[str, Any]]:
    """The figures as plain values for JSON."""
    return {name: asdict(value) for name, value in figures.items()}
