"""Annotation rounds with an oracle annotator: pick, draw (take the reference), train, test."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..atomic import atomic_path
from ..state import read_state
from . import STRATEGIES
from .journal import Journal
from .measuring import measured_indices
from .pool import Pool
from .records import CaseRecord
from .round_summary import summary_of
from .round_training import RoundTrainer
from .score_file import ScoreFile
from .scoring import CaseScorer, score_cases
from .strategy import Pick

logger = logging.getLogger(__name__)

START = "start"  # round 0, the same for every strategy of a seed
FULL = "full_data"  # the same rounds on every case of the pool: what can be reached at most
_ROUND_SEEDS = 1000  # rounds a seed has room for


def budget_counts(pool_size: int, start: float, budget: float, batch: int | None) -> list[int]:
    """Numbers of annotated cases after each round.

    Args:
        pool_size: cases in the pool.
        start: share of the pool in the first batch, 0..1.
        budget: share of the pool annotated in the end, 0..1.
        batch: cases added in each round; None: as many as there are, so that they double.

    Raises:
        ValueError: shares that leave no round.
    """
    first, last = max(2, round(start * pool_size)), round(budget * pool_size)
    if not 2 <= first < last <= pool_size or (batch is not None and batch < 1):
        raise ValueError(
            f"expected a start below the budget and both within the pool of {pool_size} cases, got"
            f" {first} and {last} cases (batch {batch}); change --start, --batch or --budget"
        )
    counts = [first]
    while counts[-1] < last:
        counts.append(min(last, counts[-1] + (batch or counts[-1])))
    return counts


class Simulation:
    """Simulated rounds on one data set; every finished round is on disk, and a new run goes on after it.

    Each round goes on from the weights of the round before (as the app does), with the same number of
    iterations for every strategy. Round 0, its weights and the order of chance are the same for all
    strategies of a seed, so that they are compared in pairs.

    Args:
        trainer: of the bundle.
        pool: decoded cases to pick from.
        test: decoded cases to judge on.
        counts: annotated cases after each round.
        folder: for weights and `rounds.jsonl`.
        candidates: cases scored in each round, drawn by chance; None: all. What is not scored cannot
            be picked in that round.
    """

    def __init__(
        self,
        trainer: RoundTrainer,
        pool: Sequence[Mapping[str, Any]],
        test: Sequence[Mapping[str, Any]],
        counts: Sequence[int],
        folder: Path,
        candidates: int | None = None,
    ) -> None:
        self.trainer = trainer
        self.cases = {case["name"]: case for case in pool}
        self.test = test
        self.counts = list(counts)
        self.folder = folder
        self.candidates = candidates
        self.journal = Journal(folder / "rounds.jsonl")
        self._measured: dict[str, np.ndarray] = {}

    def run(self, strategies: Sequence[str], seeds: Sequence[int]) -> None:
        """All rounds of all strategies and seeds that are not there yet, seed after seed."""
        total = len(seeds) * (1 + len(strategies) * (len(self.counts) - 1) + 1)
        done = self._done()
        left = total - sum(
            len(done.get((seed, name), ())) for seed in seeds for name in (START, FULL, *strategies)
        )
        self._progress = {"left": left, "start": time.monotonic(), "made": 0}
        logger.info("%d of %d rounds are left", left, total)
        for seed in seeds:
            self._start(seed)
            for name in strategies:
                for number in range(1, len(self.counts)):
                    self._round(seed, name, number)
            self._full(seed)
            for name in strategies:  # the first weights stay, for strategies added later
                shutil.rmtree(self.folder / f"seed_{seed}" / name, ignore_errors=True)

    def _done(self) -> dict[tuple[int, str], dict[int, dict]]:
        """(seed, strategy) -> round -> its row."""
        found: dict[tuple[int, str], dict[int, dict]] = {}
        for row in self.journal.read():
            found.setdefault((row["seed"], row["strategy"]), {})[row["round"]] = row
        return found

    def _start(self, seed: int) -> None:
        """Round 0: a random batch, the same for all strategies."""
        if 0 in self._done().get((seed, START), {}):
            return
        names = sorted(self.cases)
        chosen = np.random.default_rng(seed).permutation(len(names))[: self.counts[0]]
        picks = [Pick(names[i], 0.0, "first batch, by chance") for i in chosen]
        self._train_and_note(seed, START, 0, picks, [p.name for p in picks], None)

    def _full(self, seed: int) -> None:
        """The same training on the whole pool."""
        if self._done().get((seed, FULL)):
            return
        weights = None
        everything = [self.cases[name] for name in sorted(self.cases)]
        started = time.monotonic()
        judged: list[dict[str, Any]] = []
        for number in range(len(self.counts)):
            network = self.trainer.train(everything, seed * _ROUND_SEEDS + number, weights)
            weights = network.state_dict()
            judged.append(self._judge(network))
        row = {
            "seed": seed,
            "strategy": FULL,
            "round": 0,
            "labelled": len(everything),
            "share": 1.0,
            "picked": [],
            **judged[-1],
            "case_dice_by_round": [found["case_dice"] for found in judged],
            "seconds": round(time.monotonic() - started, 1),
        }
        self._note(row)

    def _round(self, seed: int, name: str, number: int) -> None:
        """One round of one strategy, unless it is done."""
        done = self._done()
        if number in done.get((seed, name), {}):
            return
        rows = [done[seed, START][0], *(done[seed, name][n] for n in range(1, number))]
        labelled = [p["name"] for row in rows for p in row["picked"]]
        network = self._load(seed, rows[-1])
        picks = self._pick(network, seed, name, number, labelled, rows[-1]["checkpoint"])
        labelled += [pick.name for pick in picks]
        self._train_and_note(seed, name, number, picks, labelled, network.state_dict())

    def _pick(
        self, network, seed: int, name: str, number: int, labelled: list[str], version: str
    ) -> list[Pick]:
        """What the strategy wants annotated next, by the scores of the last round's network."""
        strategy = STRATEGIES[name]
        free = sorted(set(self.cases) - set(labelled))
        rng = np.random.default_rng([seed, number])
        if self.candidates is not None and self.candidates < len(free):
            free = sorted(rng.permutation(free)[: self.candidates].tolist())
        wanted = self.counts[number] - len(labelled)
        scorer = CaseScorer(network, self.trainer.inferer, strategy.needs_disagreement)
        # round 1 scores with the weights that all strategies share
        file = ScoreFile(self.folder / f"seed_{seed}" / f"scores_{version[:12]}.jsonl", version)
        if strategy.needs_scores:
            cases = [
                (n, lambda n=n: self.cases[n]["image"].to(self.trainer.device))
                for n in [*free, *sorted(labelled)]
            ]
            records = score_cases(scorer, cases, file.records, file.add)
        else:
            records = {
                n: CaseRecord.blank(n, len(self.trainer.keywords)) for n in [*free, *labelled]
            }
        measured = {n: self._concepts(n) for n in labelled}
        pool = Pool.from_records(
            (records[n] for n in [*free, *labelled]), self.trainer.keywords, measured
        )
        picks = strategy.pick(pool, wanted, number, seed)
        if number > 1:
            file.path.unlink(missing_ok=True)
        return picks

    def _concepts(self, name: str) -> np.ndarray:
        """What is measured in the label of an annotated case."""
        if name not in self._measured:
            case = self.cases[name]
            image, label = np.asarray(case["image"]), np.asarray(case["label"])[0]
            self._measured[name] = measured_indices(
                image, label, self.trainer.keywords, self.trainer.slice_axis
            )
        return self._measured[name]

    def _file(self, seed: int, name: str, file: str) -> Path:
        """A file of one strategy and seed."""
        return self.folder / f"seed_{seed}" / name / file

    def _load(self, seed: int, row: Mapping[str, Any]) -> torch.nn.Module:
        """The network after a round.

        Raises:
            FileNotFoundError: its weights are gone or are others.
        """
        path = self._file(seed, row["strategy"], f"round_{row['round']}.pt")
        if not path.is_file() or _sha256(path) != row["checkpoint"]:
            raise FileNotFoundError(
                f"expected the weights of round {row['round']} in '{path}', got none or others;"
                f" restore the file, or delete the rows of seed {seed} in '{self.journal.path}'"
            )
        return self.trainer.network(read_state(path))

    def _train_and_note(
        self,
        seed: int,
        name: str,
        number: int,
        picks: Sequence[Pick],
        labelled: Sequence[str],
        weights: Mapping[str, torch.Tensor] | None,
    ) -> None:
        """Train on everything annotated, test, and write weights and row."""
        started = time.monotonic()
        cases = [self.cases[n] for n in sorted(labelled)]
        network = self.trainer.train(cases, seed * _ROUND_SEEDS + number, weights)
        path = self._file(seed, name, f"round_{number}.pt")
        with atomic_path(path) as temporary:
            torch.save(network.state_dict(), temporary)
        areas = [int((np.asarray(case["label"]) > 0).sum()) for case in cases]
        row = {
            "seed": seed,
            "strategy": name,
            "round": number,
            "labelled": len(labelled),
            "share": len(labelled) / len(self.cases),
            "picked": [
                {"name": p.name, "score": round(p.score, 4), "reason": p.reason} for p in picks
            ],
            "checkpoint": _sha256(path),
            "foreground_annotated": sum(areas),
            **self._judge(network),
            "seconds": round(time.monotonic() - started, 1),
        }
        self._note(row)
        if number > 1:  # kept until the row of the next round is written
            self._file(seed, name, f"round_{number - 1}.pt").unlink(missing_ok=True)

    def _judge(self, network: torch.nn.Module) -> dict[str, Any]:
        """Dice and HD95 on the test cases."""
        return summary_of(self.trainer.test(network, self.test), self.trainer.keywords)

    def _note(self, row: dict[str, Any]) -> None:
        """Write the row and say how long the rest will take."""
        self.journal.add(row)
        progress = self._progress
        progress["made"] += 1
        each = (time.monotonic() - progress["start"]) / progress["made"]
        logger.info(
            "seed %d, %s, round %d: %d cases, Dice %.3f; about %.0f min left",
            row["seed"],
            row["strategy"],
            row["round"],
            row["labelled"],
            row["mean_dice"],
            each * (progress["left"] - progress["made"]) / 60,
        )


def _sha256(path: Path) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
