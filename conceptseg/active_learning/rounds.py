"""From a bundle and a labelled folder to simulated rounds: cases, settings, resuming."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atomic import write_text_atomic
from ..datalist import folder_datalist
from .round_training import RoundTrainer
from .simulation import Simulation, budget_counts

logger = logging.getLogger(__name__)

SETTINGS = "settings.json"


def pool_and_test(
    data: Path, split_file: Path, test_fraction: float
) -> tuple[list[dict], list[dict]]:
    """Cases to pick from and cases to judge on.

    The test part of the data set is used where it has one, else its validation part, else one is
    drawn and kept in `split_file`.
    """
    sections = folder_datalist(data, None, 0.0, 0.0)
    test = sections["testing"] or sections["validation"]
    if not test:
        sections = folder_datalist(data, split_file, 0.0, test_fraction)
        test = sections["testing"]
    return sections["training"], test


def run_simulation(
    bundle: Path,
    data: Path,
    output: Path,
    strategies: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
) -> None:
    """Simulate all rounds that `output` does not hold yet.

    Args:
        bundle: bundle folder.
        data: labelled folder.
        output: folder for settings, split, record and weights.
        strategies: names out of `STRATEGIES`.
        seeds: each is one repetition with its own first batch and weights.
        settings: "start", "budget", "batch", "iterations", "candidates", "test_fraction", "short",
            "overrides"; see the command line.

    Raises:
        ValueError: other settings than those of the rounds that are there already.
    """
    facts = {"bundle": bundle.resolve().name, "data": data.resolve().name, **settings}
    _check_settings(output / SETTINGS, facts)
    trainer = RoundTrainer(bundle, settings["iterations"], settings["short"], settings["overrides"])
    pool, test = pool_and_test(data, output / "split.json", settings["test_fraction"])
    counts = budget_counts(len(pool), settings["start"], settings["budget"], settings["batch"])
    facts |= {"pool": len(pool), "test": len(test), "keywords": list(trainer.keywords)}
    write_text_atomic(output / SETTINGS, json.dumps(facts, indent=1) + "\n")
    logger.info("%d cases in the pool, %d to test; annotated: %s", len(pool), len(test), counts)
    simulation = Simulation(
        trainer,
        trainer.decode(pool),
        trainer.decode(test),
        counts,
        output,
        settings["candidates"],
    )
    simulation.run(strategies, seeds)


def _check_settings(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse to mix rounds of different settings in one record."""
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name, value in facts.items() if before.get(name) != value]
    if changed:
        raise ValueError(
            f"expected the settings of the rounds in '{path.parent}', got another"
            f" {', '.join(changed)}; use them again or choose another output folder"
        )
