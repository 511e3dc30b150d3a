"""Contestants compared: means over seeds, and paired bootstrap intervals against the best baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .records import CASES, RunStore

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean difference and the ends of its interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    ours: np.ndarray, other: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of ours minus other with its 95 % percentile interval.

    Seeds and cases are both drawn with replacement, the same ones for both sides, so that the
    interval covers another training as well as other cases. With one seed it covers the cases only.

    Args:
        ours: (S, N) scores of N cases with S seeds.
        other: the same seeds and cases.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: other shapes, or nothing to compare.
    """
    ours, other = np.atleast_2d(ours), np.atleast_2d(other)
    if ours.shape != other.shape or not ours.size:
        raise ValueError(
            f"expected scores of the same seeds and cases, got shapes {ours.shape} and {other.shape}"
        )
    difference = ours - other
    random = np.random.default_rng(seed)
    seeds, cases = difference.shape
    # drawn as weights: weighted sums are the means over drawn seeds and cases
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    of_cases = random.multinomial(cases, np.full(cases, 1 / cases), resamples) / cases
    means = np.einsum("rs,sn,rn->r", of_seeds, difference, of_cases, optimize=True)
    tail = (1 - LEVEL) / 2
    return Interval(float(difference.mean()), *map(float, np.quantile(means, (tail, 1 - tail))))


@dataclass
class Entry:
    """One contestant on one data set, budget and fraction.

    Attributes:
        name, title, ours, condition: of the contestant.
        records: of its runs that ended well.
        labels: names, in label order.
        scores: metric -> condition -> seed -> case -> value, the mean over labels.
    """

    name: str
    title: str
    ours: bool
    condition: str
    records: list[dict[str, Any]]
    labels: list[str] = field(default_factory=list)
    scores: dict[str, dict[str, dict[int, dict[str, float]]]] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """Seeds that ended."""
        return sorted({record["seed"] for record in self.records})

    def seed_means(self, metric: str = "dice", condition: str | None = None) -> list[float]:
        """Mean over cases for each seed, cases without a value left out; empty without any."""
        by_seed = self.scores.get(metric, {}).get(condition or self.condition, {})
        values = [[v for v in by_seed[s].values() if not math.isnan(v)] for s in sorted(by_seed)]
        return [float(np.mean(v)) for v in values if v]

    def mean(self, metric: str = "dice", condition: str | None = None) -> float:
        """Mean over seeds; NaN without any."""
        values = self.seed_means(metric, condition)
        return float(np.mean(values)) if values else math.nan

    def averaged(self, key: str) -> float:
        """Mean of a figure of the records."""
        return float(np.mean([record[key] for record in self.records]))

    def case_means(self, condition: str | None = None) -> dict[str, float]:
        """Dice of each case, the mean over seeds."""
        by_seed = self.scores["dice"][condition or self.condition]
        cases = sorted(set.intersection(*(set(scores) for scores in by_seed.values())))
        return {case: float(np.mean([by_seed[s][case] for s in by_seed])) for case in cases}


@dataclass
class Group:
    """Entries that may be compared: same data set, budget and fraction."""

    data_set: str
    budget: str
    amount: float
    fraction: float
    entries: dict[str, Entry]

    @property
    def title(self) -> str:
        """For readers."""
        unit = "images seen" if self.budget == "images" else "s of training on the CPU"
        return f"{self.data_set}, {100 * self.fraction:g} % of the data, {self.amount:g} {unit}"

    def best_baseline(self) -> Entry | None:
        """The contestant with the highest mean Dice that is neither ours nor told the reference; None without any."""
        others = [
            e
            for e in self.entries.values()
            if not (e.ours or "oracle" in e.condition or math.isnan(e.mean()))
        ]
        return max(others, key=Entry.mean) if others else None

    def reference(self, entry: Entry) -> Entry | None:
        """What `entry` is compared with: a trial with the contestant it changes, others with the best baseline."""
        changed = self.entries.get(entry.name.partition("@")[0])
        return self.best_baseline() if changed is None or changed is entry else changed

    def compare(self, entry: Entry, other: Entry) -> Interval | None:
        """`entry` minus `other` on their common seeds and cases; None without any."""
        return compare_scores(
            entry.scores["dice"][entry.condition], other.scores["dice"][other.condition]
        )


def compare_scores(
    ours: dict[int, dict[str, float]], other: dict[int, dict[str, float]]
) -> Interval | None:
    """`paired_bootstrap` on the seeds and cases that both have; None without any."""
    seeds = sorted(set(ours) & set(other))
    if not seeds:
        return None
    tables = [side[seed] for side in (ours, other) for seed in seeds]
    cases = sorted(set.intersection(*(set(table) for table in tables)))
    if not cases:
        return None
    matrices = [np.array([[side[s][c] for c in cases] for s in seeds]) for side in (ours, other)]
    return paired_bootstrap(*matrices)


def read_groups(store: RunStore, data_sets: Sequence[str] | None = None) -> list[Group]:
    """All recorded runs that ended well, by what may be compared; the folds of a seed are joined.

    Args:
        store: of the runs.
        data_sets: only these.
    """
    groups: dict[tuple, Group] = {}
    for record in store.records():
        if record["status"] != "done" or (data_sets and record["data_set"] not in data_sets):
            continue
        place = tuple(record[k] for k in ("data_set", "budget", "amount", "fraction"))
        group = groups.setdefault(place, Group(*place, {}))
        name = record["contestant"]
        details = [record[key] for key in ("title", "ours", "condition")]
        entry = group.entries.setdefault(name, Entry(name, *details, []))
        entry.records.append(record)
        _add_cases(entry, record["seed"], store.table(record["key"], CASES))
    return [groups[place] for place in sorted(groups, key=lambda p: (p[0], p[1], p[2], -p[3]))]


def _add_cases(entry: Entry, seed: int, rows: Sequence[Mapping[str, str]]) -> None:
    """Add the cases of one run, the mean over labels, to the entry's scores."""
    entry.labels = list(dict.fromkeys(row["label"] for row in rows))
    for metric in ("dice", "iou", "hd95_mm", "hd95_px", "uncertainty"):
        values: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            if row.get(metric):
                values.setdefault((row["condition"], row["case"]), []).append(float(row[metric]))
        for (condition, case), of_labels in values.items():
            by_seed = entry.scores.setdefault(metric, {}).setdefault(condition, {})
            by_seed.setdefault(seed, {})[case] = float(np.mean(of_labels))


def prompt_worth(entry: Entry) -> dict[str, float]:
    """What the network's own concepts and prompts earn over the same network without any, in Dice.

    Returns:
        "oracle": gain of the oracle prompt over no condition; "text_free_share" and
        "location_share": of that gain, what text-free and a prompt of keyword and place earn; NaN
        while the gain's own interval reaches zero.
        Empty without these conditions.
    """
    by_condition = entry.scores["dice"]
    if not {"no_condition", "text_guided_oracle"} <= set(by_condition):
        return {}
    compared = compare_scores(by_condition["text_guided_oracle"], by_condition["no_condition"])
    gain, known = compared.mean, compared.low > 0
    silent = entry.mean(condition="no_condition")
    shares = {
        f"{name}_share": (entry.mean(condition=condition) - silent) / gain if known else math.nan
        for name, condition in (("text_free", "text_free"), ("location", "text_guided_location"))
    }
    return {"oracle": gain, **shares}


def mean_curve(
    records: Iterable[dict[str, Any]], over: str = "images"
) -> list[tuple[float, float]]:
    """Selection Dice against "images" or "seconds", the mean over runs of equal length."""
    curves = [record["curve"] for record in records]
    length = min(map(len, curves), default=0)
    return [
        (
            float(np.mean([curve[i][over] for curve in curves])),
            float(np.mean([curve[i]["dice"] for curve in curves])),
        )
        for i in range(length)
    ]
