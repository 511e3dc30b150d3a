"""What the command line asks for, on the matrix it names."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from .analyses import analyse
from .execution import Places
from .matrix import Matrix, read_matrix
from .page import write_reports
from .records import RunStore
from .scheduler import run_missing, state_of
from .speed import measure_speed
from .tuning import tune

logger = logging.getLogger(__name__)


def run_command(args: argparse.Namespace) -> int:
    """Do one of: list, tune, time, analyse, report; else run what is missing. The exit code."""
    matrix = select(read_matrix(args.matrix), args)
    places = Places(Path(args.data_dir), Path(args.bundles).absolute(), Path(args.output_dir))
    if args.list:
        list_runs(matrix, places)
    elif args.tune:
        tune(matrix, places)
    elif args.speed:
        measure_speed(matrix, places)
    elif args.analyse:
        analyse(matrix, places)
    elif args.report:
        write_reports(matrix, places)
    else:
        records = run_missing(matrix, places, args.repeat, args.jobs)
        return int(any(record["status"] == "failed" for record in records))
    return 0


def select(matrix: Matrix, args: argparse.Namespace) -> Matrix:
    """The part of the matrix, or the trial, that the arguments ask for."""
    only = args.only or (["ours"] if args.override or args.name else None)
    matrix = matrix.narrowed(
        only, args.data_sets, fractions=args.fractions, seeds=args.seeds, budgets=args.budgets
    )
    if args.amount:
        budgets = dict.fromkeys(matrix.budgets[:1], args.amount)
        sets = {n: dataclasses.replace(d, budgets=budgets) for n, d in matrix.data_sets.items()}
        matrix = dataclasses.replace(matrix, data_sets=sets)
    if args.override or args.name:
        overrides = parse_overrides(args.override)
        name = args.name or ",".join(args.override)
        trials = [c.trial(name, overrides) for c in matrix.contestants.values()]
        matrix = dataclasses.replace(matrix, contestants={c.name: c for c in trials})
    return matrix


def parse_overrides(texts: list[str]) -> dict[str, Any]:
    """Config id -> value of texts "id=value"; values are read as YAML.

    Raises:
        ValueError: for a text without "=".
    """
    pairs = [text.partition("=") for text in texts]
    wrong = [text for text, (_, sign, _) in zip(texts, pairs, strict=True) if not sign]
    if wrong:
        raise ValueError(f"expected overrides ID=VALUE, got {wrong}; put a = between id and value")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def list_runs(matrix: Matrix, places: Places) -> None:
    """Log the state of every run of the matrix, and trials recorded beside it."""
    store, counts, keys = RunStore(places.output_dir), Counter(), set()
    for spec in matrix.runs():
        state = state_of(matrix, spec, places)
        counts[state] += 1
        keys.add(spec.key)
        logger.info("%-8s %s%s", state, spec.key, _dice(store.read(spec.key)))
    for record in store.records():
        if record["key"] not in keys:
            logger.info(
                "%-8s %s%s (not in this matrix)", record["status"], record["key"], _dice(record)
            )
    logger.info("%s", ", ".join(f"{count} {state}" for state, count in counts.items()))


def _dice(record: dict[str, Any] | None) -> str:
    """Mean test Dice of a record, by condition."""
    scores = (record or {}).get("dice", {})
    return "".join(f"  {name} {value:.4f}" for name, value in scores.items())
