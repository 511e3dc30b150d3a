"""What simulated rounds show: area under the budget curve, paired intervals, labels needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from .simulation import FULL, START

MIN_SEEDS = 3  # with fewer nothing is claimed
RESAMPLES = 4000
TARGET_SHARE = 0.95  # of the full-data Dice


@dataclass(frozen=True)
class Curve:
    """The finished rounds of one strategy and seed.

    Attributes:
        shares: (R,) annotated share of the pool after each round.
        case_dice: (R, T) Dice of each test case.
        rows: as written, one per round (of all labels: one in all).
    """

    shares: np.ndarray
    case_dice: np.ndarray
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """A strategy against a baseline on the same seeds and test cases.

    Attributes:
        difference: of the areas under the budget curve, mean over seeds.
        low, high: 95 % interval.
        seeds: number of seeds both have finished.
    """

    difference: float
    low: float
    high: float
    seeds: int

    def verdict(self, baseline: str) -> str:
        """In words, honest about too few seeds and about no difference."""
        if self.seeds < MIN_SEEDS:
            return f"{self.seeds} of at least {MIN_SEEDS} seeds: nothing can be said yet"
        if self.low > 0:
            return f"better than {baseline}"
        return f"not better than {baseline}" + (" (worse)" if self.high < 0 else "")


def read_curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Curve]]:
    """Strategy -> seed -> its curve, for the runs that went through all rounds.

    All rounds: as many as the longest run in the record has.
    """
    found: dict[tuple[str, int], dict[int, dict]] = {}
    for row in rows:
        found.setdefault((row["strategy"], row["seed"]), {})[row["round"]] = dict(row)
    last = max((row["round"] for row in rows), default=0)
    curves: dict[str, dict[int, Curve]] = {}
    for (name, seed), by_round in sorted(found.items()):
        first = found.get((START, seed), {}).get(0)
        if name in (START, FULL) or first is None or set(by_round) != set(range(1, last + 1)):
            continue
        run = [first, *(by_round[n] for n in range(1, last + 1))]
        curves.setdefault(name, {})[seed] = Curve(
            np.array([row["share"] for row in run]),
            _by_case([row["case_dice"] for row in run]),
            run,
        )
    return curves


def _by_case(judged: Sequence[Mapping[str, float]]) -> np.ndarray:
    """(R, T) Dice of the first one's cases, by name."""
    return np.array([[dice[case] for case in sorted(judged[0])] for dice in judged])


def full_data_dice(rows: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Seed -> Dice after the same training on every case of the pool."""
    return {row["seed"]: row["mean_dice"] for row in rows if row["strategy"] == FULL}


def ceiling_curves(rows: Sequence[Mapping[str, Any]]) -> dict[int, Curve]:
    """Seed -> curve of the rounds on the whole pool, from the shared first point on.

    How far it is above chance is the room that a choice of cases has. Records of versions that judged the
    whole pool after the last round alone give none.
    """
    starts = {row["seed"]: row for row in rows if row["strategy"] == START}
    shares = {row["round"]: row["share"] for row in rows if row["strategy"] not in (START, FULL)}
    curves = {}
    for row in rows:
        seed = row["seed"]
        if row["strategy"] != FULL or "case_dice_by_round" not in row or seed not in starts:
            continue
        judged = [starts[seed]["case_dice"], *row["case_dice_by_round"][1:]]
        numbers = range(1, len(judged))
        if not all(number in shares for number in numbers):
            continue
        curves[seed] = Curve(
            np.array([starts[seed]["share"], *(shares[number] for number in numbers)]),
            _by_case(judged),
            [dict(row)],
        )
    return curves


def case_areas(curve: Curve) -> np.ndarray:
    """(T,) area under the budget curve of each test case, between 0 and 1.

    The budget axis is logarithmic, because a budget is doubled rather than enlarged by a few cases; the
    area is divided by its width, so that it is a mean Dice over budgets.
    """
    x = np.log2(curve.shares)
    return trapezoid(curve.case_dice, x, axis=0) / (x[-1] - x[0])


def area(curve: Curve) -> float:
    """Area under the budget curve, mean over test cases."""
    return float(case_areas(curve).mean())


def compare(
    strategy: Mapping[int, Curve], baseline: Mapping[int, Curve], seed: int = 0
) -> Comparison | None:
    """Difference of the areas with a paired bootstrap interval; None without a common seed.

    Seeds and test cases are drawn again with replacement, each time the same for both sides
    (4,000 draws, percentile interval).

    Args:
        strategy: seed -> curve.
        baseline: seed -> curve.
        seed: of the draws.
    """
    return compare_together([(strategy, baseline)], seed)


def compare_together(
    sides: Sequence[tuple[Mapping[int, Curve], Mapping[int, Curve]]], seed: int = 0
) -> Comparison | None:
    """As `compare`, over several data sets, each of which weighs the same.

    Args:
        sides: strategy and baseline of each data set.
        seed: of the draws.

    Returns:
        None if any data set has no common seed; `seeds` is the least number of them.
    """
    pairs = [_paired_areas(strategy, baseline) for strategy, baseline in sides]
    if not pairs or not all(map(len, pairs)):
        return None
    rng = np.random.default_rng(seed)
    means = [np.mean([_drawn_again(one, rng).mean() for one in pairs]) for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    difference = float(np.mean([one.mean() for one in pairs]))
    return Comparison(difference, float(low), float(high), min(map(len, pairs)))


def _paired_areas(strategy: Mapping[int, Curve], baseline: Mapping[int, Curve]) -> np.ndarray:
    """(S, T) differences of the areas for each common seed and test case."""
    common = sorted(set(strategy) & set(baseline))
    return np.array([case_areas(strategy[s]) - case_areas(baseline[s]) for s in common])


def _drawn_again(pairs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Seeds and test cases of (S, T), drawn with replacement."""
    seeds, cases = pairs.shape
    return pairs[rng.integers(seeds, size=seeds)][:, rng.integers(cases, size=cases)]


def share_needed(curves: Mapping[int, Curve], full: Mapping[int, float]) -> float | None:
    """Share of the pool at which the mean curve reaches 95 % of the full-data Dice; None if it does not.

    Between two rounds the curve is taken as straight over the logarithm of the budget.
    """
    common = sorted(set(curves) & set(full))
    if not common:
        return None
    target = TARGET_SHARE * float(np.mean([full[s] for s in common]))
    dice = np.mean([curves[s].case_dice.mean(axis=1) for s in common], axis=0)
    x = np.log2(curves[common[0]].shares)
    reached = np.flatnonzero(dice >= target)
    if not len(reached):
        return None
    after = int(reached[0])
    if after == 0:
        return float(2 ** x[0])
    part = (target - dice[after - 1]) / (dice[after] - dice[after - 1])
    return float(2 ** (x[after - 1] + part * (x[after] - x[after - 1])))
