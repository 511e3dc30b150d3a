"""Running what is missing: resume, claims, progress with time left."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import torch

from .execution import Places, Run
from .matrix import Matrix, RunSpec
from .records import RunStore
from .tuning import chosen_rate

logger = logging.getLogger(__name__)

STATES = ("done", "stale", "failed", "missing")


def make_run(matrix: Matrix, spec: RunSpec, places: Places) -> Run:
    """A run with the learning rate that validation chose, if it chose one."""
    return Run(matrix, spec, places, chosen_rate(matrix, spec, places.output_dir))


def state_of(matrix: Matrix, spec: RunSpec, places: Places) -> str:
    """One of `STATES`; stale: recorded with another config, or other code of the concept network."""
    record = RunStore(places.output_dir).read(spec.key)
    if record is None:
        return "missing"
    if record["status"] == "failed":
        return "failed"
    return "done" if record["recipe"] == make_run(matrix, spec, places).fingerprint() else "stale"


def run_missing(
    matrix: Matrix, places: Places, repeat: Sequence[str] = (), jobs: int = 1
) -> list[dict[str, Any]]:
    """Run every cell that has no record.

    Args:
        matrix: the cells.
        places: folders.
        repeat: states, out of "failed" and "stale", whose runs are moved away and repeated.
        jobs: runs at a time, each in a process of its own.

    Returns:
        Records of the runs that ended now.
    """
    states = {spec: state_of(matrix, spec, places) for spec in matrix.runs()}
    todo = [spec for spec, state in states.items() if state == "missing" or state in repeat]
    stale = sum(state == "stale" for state in states.values())
    if stale and "stale" not in repeat:
        logger.warning(
            "%d runs are recorded with another recipe: give each matrix an --output_dir of its"
            " own, or repeat them with --repeat stale",
            stale,
        )
    store = RunStore(places.output_dir)
    logger.info("%d of %d runs to do", len(todo), len(states))
    records = []
    arguments = [(matrix, spec, places, tuple(repeat)) for spec in todo]
    for count, record in enumerate(_results(arguments, jobs), start=1):
        if record is not None:
            records.append(record)
            _report(record, count, len(todo), _minutes_left(todo[count:], store) / jobs)
    return records


def _results(arguments: Sequence[tuple], jobs: int) -> Any:
    """Yield what `run_one` gives, in this process or in several."""
    if jobs == 1:
        for one in arguments:
            yield run_one(*one)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for future in as_completed([pool.submit(run_one, *one) for one in arguments]):
            try:
                yield future.result()
            except BrokenProcessPool:
                logger.error("a process was killed, for want of memory perhaps; run again to go on")
                return


def run_one(
    matrix: Matrix, spec: RunSpec, places: Places, repeat: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Run one cell and record it; None when another process has it, or did it meanwhile."""
    store = RunStore(places.output_dir)
    if matrix.threads:
        torch.set_num_threads(matrix.threads)
    with store.claim(spec) as mine:
        state = state_of(matrix, spec, places) if mine else "claimed"
        if state != "missing" and state not in repeat:
            logger.info("%s: %s elsewhere, left out", spec.key, state)
            return None
        if state != "missing":
            store.supersede(spec.key)
        record = make_run(matrix, spec, places).execute()
        store.write(spec.key, record)
        return record


def _minutes_left(todo: Sequence[RunSpec], store: RunStore) -> float:
    """Expected minutes of the runs `todo`: like recorded runs of the same kind, or like all."""
    past = [r for r in store.records() if r["status"] == "done"]
    overall = float(np.mean([r["wall_seconds"] for r in past])) if past else 0.0
    total = 0.0
    for spec in todo:
        same = [
            r["wall_seconds"]
            for r in past
            if (r["data_set"], r["contestant"], r["budget"], r["amount"])
            == (spec.data_set, spec.contestant, spec.budget, spec.amount)
        ]
        total += float(np.mean(same)) if same else overall
    return total / 60


def _report(record: dict[str, Any], count: int, total: int, minutes: float) -> None:
    """Say how a run ended and how long the rest will take."""
    dice = ", ".join(f"{k} {v:.4f}" for k, v in record.get("dice", {}).items()) or record["status"]
    logger.info(
        "%d of %d, %s: %s (%.0f s), about %.0f min left",
        count,
        total,
        record["key"],
        dice,
        record["wall_seconds"],
        minutes,
    )
