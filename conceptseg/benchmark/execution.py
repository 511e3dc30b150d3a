"""One run: train within its budget, test the best checkpoint under every condition, record."""

from __future__ import annotations

import datetime
import json
import logging
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from ..atomic import atomic_path, write_text_atomic
from ..datalist_layouts import PATH_KEYS
from ..errors import root_cause
from ..evaluation import CaseTable
from . import recipe
from .budget import steps_of
from .matrix import Contestant, DataSet, Matrix, RunSpec
from .records import CASES, MASKS, WEIGHTS, RunStore
from .splits import make_split, nested_fraction
from .testing import Tester, load_tester

logger = logging.getLogger(__name__)

TIMED_SHARE = 0.1  # of a budget in seconds: the steps are timed for so long beforehand


@dataclass(frozen=True)
class Places:
    """Where things are.

    Attributes:
        data_dir: folder of all data sets.
        bundles_dir: folder of all bundles.
        output_dir: records, and what is written of them.
    """

    data_dir: Path
    bundles_dir: Path
    output_dir: Path


class Run:
    """One cell of the matrix.

    Args:
        matrix: it belongs to.
        spec: which cell.
        places: folders.
        learning_rate: chosen on validation; None: the config's.
    """

    def __init__(
        self, matrix: Matrix, spec: RunSpec, places: Places, learning_rate: float | None = None
    ) -> None:
        self.matrix, self.spec, self.places = matrix, spec, places
        self.learning_rate = learning_rate
        self.contestant: Contestant = matrix.contestants[spec.contestant]
        self.data_set: DataSet = matrix.data_sets[spec.data_set]
        self.bundle_root = places.bundles_dir / self.data_set.bundle
        self.folder = RunStore(places.output_dir).folder(spec.key)

    def config(self, evaluate: bool = False) -> ConfigParser:
        """The run's config, not parsed yet."""
        return recipe.read_config(
            self.bundle_root,
            self.data_set,
            self.contestant,
            self.spec,
            evaluate,
            self.learning_rate,
        )

    def fingerprint(self) -> str:
        """Hash of what decides the result."""
        return recipe.fingerprint(self.config(), self.spec, self.contestant)

    def data_dir(self) -> Path:
        """Folder of the data set."""
        return self.places.data_dir / self.data_set.folder

    def write_split(self) -> dict[str, int]:
        """Write the run's split.json; the number of cases in each section."""
        split = make_split(self.data_dir(), self.data_set.split, self.bundle_root, self.spec.fold)
        split["training"] = nested_fraction(split["training"], self.spec.fraction, self.spec.seed)
        base = self.data_dir().absolute()

        def portable(case: Mapping[str, Any]) -> dict[str, Any]:
            paths = {k: Path(os.path.relpath(case[k], base)).as_posix() for k in PATH_KEYS}
            return {**case, **paths}

        content = {name: [portable(case) for case in cases] for name, cases in split.items()}
        write_text_atomic(self.folder / "split.json", json.dumps(content) + "\n")
        return {name: len(cases) for name, cases in content.items()}

    def steps(self, cases: int) -> tuple[int, int]:
        """Optimiser steps between validations, and validations, with so many training cases."""
        each = recipe.images_per_step(self.config(), self.data_set, cases)
        images = self.spec.amount
        if self.spec.budget == "cpu_seconds":
            images = each * max(1.0, self.spec.amount / self._seconds_per_step())
        return steps_of(images, each, self.data_set.validations)

    def _seconds_per_step(self) -> float:
        """Time a throw-away copy of the run for a share of its budget."""
        parser = self._prepared()
        recipe.share_cache(parser)
        recipe.set_timing(parser, TIMED_SHARE * self.spec.amount)
        parser.get_parsed_content("initialize")
        parser.get_parsed_content("train#trainer").run()
        return parser.get_parsed_content(recipe.METER_ID).seconds_per_step

    def _prepared(self, evaluate: bool = False) -> ConfigParser:
        """The config with the run's paths."""
        parser = self.config(evaluate)
        recipe.set_paths(parser, self.folder, self.data_dir())
        return parser

    def train(self) -> dict[str, Any]:
        """Train within the budget; what was used, and the curve of validations."""
        counts = self.write_split()
        steps, validations = self.steps(counts["training"])
        parser = self._prepared()
        recipe.share_cache(parser)
        recipe.set_budget(parser, steps, validations)
        recipe.set_handlers(parser)
        self._remove_leftovers()
        parser.get_parsed_content("initialize")  # seeds everything before anything is built
        trainer = parser.get_parsed_content("train#trainer")
        network = parser.get_parsed_content("network")
        trainer.run()
        if self.contestant.checkpoint == "last":
            with atomic_path(self.folder / WEIGHTS) as temporary:
                torch.save(network.state_dict(), temporary)
        meter = parser.get_parsed_content(recipe.METER_ID)
        scores = parser.get_parsed_content(recipe.CURVE_ID).values
        # weights to start from are judged before the first image
        start = [{"images": 0, "seconds": 0.0}] if parser.get("start_weights") else []
        points = zip(start + meter.curve, scores, strict=True)
        curve = [{**point, "dice": score} for point, score in points]
        return {
            "cases": counts,
            "learning_rate": float(parser.get_parsed_content("learning_rate")),
            "parameters": sum(p.numel() for p in network.parameters()),
            "images_seen": meter.images,
            "steps": meter.steps,
            "train_seconds": round(meter.seconds, 2),
            "selection_dice": max(scores),
            "curve": curve,
            "device": str(parser.get_parsed_content("device")),
        }

    def tester(self, conditions: Sequence[str]) -> Tester:
        """The best checkpoint, ready to be asked."""
        return load_tester(self._prepared(evaluate=True), self.folder / WEIGHTS, conditions)

    def test_dataset(self) -> Any:
        """The test cases as the network sees them."""
        return self._prepared(evaluate=True).get_parsed_content("validate#dataset")

    def test(self) -> dict[str, Any]:
        """Test the best checkpoint; writes the cases and their masks, gives the mean Dice of each."""
        tester = self.tester(self.contestant.conditions)
        table, masks = CaseTable(self.contestant.conditions), {}
        for case in tester.cases():
            for condition, (label_map, rows) in tester.judge(case).items():
                table.add(case.name, condition, rows)
                masks[f"{condition}/{case.name}"] = label_map
        table.write_csv(self.folder / CASES)
        with atomic_path(self.folder / MASKS) as temporary:
            np.savez_compressed(temporary, **masks)
        summary = table.summary()
        return {name: entry["dice_over_labels"]["mean"] for name, entry in summary.items()}

    def execute(self) -> dict[str, Any]:
        """Train and test; the record, whose "status" is "failed" with the error when that failed."""
        start = time.time()
        record = {
            **asdict(self.spec),
            "key": self.spec.key,
            "title": self.contestant.title,
            "condition": self.contestant.condition,
            "ours": self.contestant.ours,
            "settings": {**self.data_set.settings, **self.contestant.settings},
            "started": datetime.datetime.now().isoformat(timespec="seconds"),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        try:
            record |= {"recipe": self.fingerprint(), **self.train()}
            record |= {"status": "done", "dice": self.test()}
        except Exception as error:  # whatever a network or a config may raise ends this run only
            record |= {"status": "failed", "error": traceback.format_exc(limit=-6)}
            logger.error("%s failed: %s", self.spec.key, root_cause(error))
        record["wall_seconds"] = round(time.time() - start, 1)
        self._remove_leftovers(keep_weights=self.contestant.keep_weights)
        return record

    def _remove_leftovers(self, keep_weights: bool = False) -> None:
        """Remove checkpoints: a run starts at its beginning, so that its budget is counted whole."""
        (self.folder / "last.pt").unlink(missing_ok=True)
        if not keep_weights:
            (self.folder / WEIGHTS).unlink(missing_ok=True)
