"""The learning rate each contestant learns with: a small fixed grid, chosen on the selection cases."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

from ..atomic import write_text_atomic
from .execution import Places, Run
from .matrix import Matrix, RunSpec

logger = logging.getLogger(__name__)

RATES = "learning_rates.json"
SHARE = 0.5  # of the budget, for each rate tried
_SEED = 1000  # never one of the matrix


def chosen_rate(matrix: Matrix, spec: RunSpec, output_dir: Path) -> float | None:
    """The rate chosen for a contestant on a data set, also for its trials; None: its config's."""
    grid = matrix.contestants[spec.contestant].learning_rates
    if not grid:
        return None
    scores = read_rates(output_dir).get(f"{spec.data_set}/{spec.contestant.split('@')[0]}", {})
    return float(max(scores, key=scores.get)) if scores else None


def read_rates(output_dir: Path) -> dict[str, dict[str, float]]:
    """Data set / contestant -> rate -> best Dice on the selection cases."""
    path = output_dir / RATES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def tune(matrix: Matrix, places: Places) -> dict[str, dict[str, float]]:
    """Try the rates that were not tried yet, on all training cases, with half of the budget.

    The selection cases decide and nothing is tested. Every score is written as it is known.

    Returns:
        As `read_rates`.
    """
    scratch = dataclasses.replace(places, output_dir=places.output_dir / "tuning")
    for data_set in matrix.data_sets.values():
        kind = next(iter(data_set.budgets))
        for contestant in matrix.contestants.values():
            key = f"{data_set.name}/{contestant.name}"
            for rate in contestant.learning_rates:
                rates = read_rates(places.output_dir)
                if f"{rate:g}" in rates.get(key, {}):
                    continue
                amount = SHARE * data_set.budgets[kind]
                spec = RunSpec(
                    data_set.name, contestant.name, 1.0, _SEED, kind, amount, data_set.folds[0]
                )
                score = Run(matrix, spec, scratch, rate).train()["selection_dice"]
                rates = read_rates(places.output_dir)
                rates.setdefault(key, {})[f"{rate:g}"] = round(score, 4)
                write_text_atomic(places.output_dir / RATES, json.dumps(rates, indent=1) + "\n")
                logger.info(
                    "%s: learning rate %g gives %.4f on the selection cases", key, rate, score
                )
    return read_rates(places.output_dir)
