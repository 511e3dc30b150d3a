"""Training from the saved labels with the bundle's own train config."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.utils import processes

from conceptseg.atomic import atomic_path, write_text_atomic
from conceptseg.training import CheckpointKeeper, set_epoch_length

from .bundle import config_file, read_config
from .model import ServedModel, file_version
from .options import read_flag
from .preflight import check_cases, measured_concepts
from .problems import bad_request
from .renumber import is_foreign, own_values, write_renumbered
from .store import final_pairs

logger = logging.getLogger(__name__)

MIN_CASES = 2
MAX_EPOCHS = 10_000
DEFAULT_EPOCHS = 30
DEFAULT_VAL_SPLIT = 0.2
FRESH_STEPS = 10  # of an epoch, at least, from fresh weights: a few cases alone would make one


class TrainingTask(TrainTask):
    """Trains a bundle on the final labels of the studies.

    New weights are served when their validation Dice is not below that of the weights before, judged
    on the same cases; the weights before are kept in `history`.

    Args:
        model: the served model whose weights are trained.
        served_labels: label names of all bundles of the server.
    """

    def __init__(self, model: ServedModel, served_labels: Sequence[str] = ()) -> None:
        super().__init__(f"Train {', '.join(model.bundle.keywords)} on the saved labels")
        self.model = model
        self.served_labels = served_labels
        self.stats_file = model.weights_dir / "train_stats.json"

    def is_valid(self) -> bool:
        """True when the bundle has a train config."""
        return config_file(self.model.bundle.path, "train") is not None

    def config(self) -> dict[str, Any]:
        """Options for the clients."""
        return {
            "max_epochs": DEFAULT_EPOCHS,
            "val_split": DEFAULT_VAL_SPLIT,
            "pretrained": True,
        }

    def stats(self) -> dict[str, Any]:
        """Progress of the newest run, {} before the first."""
        try:
            stats = json.loads(self.stats_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if "total_time" not in stats and not processes("train"):  # stopped, or the server was
            stats |= {"stopped": True, "total_time": stats.get("elapsed_time", 0.0)}
        return stats

    def check(self, request: Mapping[str, Any], datastore) -> tuple[dict[str, list], list[str]]:
        """Refuse with error 400 what cannot be trained.

        Returns:
            Cases by section, "training" and "validation"; and the images with an empty label.

        Raises:
            HTTPException: wrong options, fewer than two cases, or labels that do not fit.
        """
        _epochs(request)
        share = _val_split(request)
        read_flag("pretrained", request.get("pretrained", True))
        cases = [
            {**pair, "values": own_values(pair["label_info"], self.model.bundle)}
            for pair in final_pairs(datastore)
            if not is_foreign(pair["label_info"], self.model.bundle, self.served_labels)
        ]
        if len(cases) < MIN_CASES:
            raise bad_request(
                f"Expected at least {MIN_CASES} images with a final label to train on (one of them"
                f" to validate), got {len(cases)}; annotate and submit more."
            )
        sections = split_cases(cases, share)
        problems, empty = check_cases(
            sections["training"], sections["validation"], self.model.bundle
        )
        if problems:
            more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise bad_request("; ".join(problems[:3]) + more)
        return sections, empty

    def __call__(self, request: Mapping[str, Any], datastore) -> dict[str, Any]:
        """Run the training; gives the final statistics."""
        started, epochs = time.time(), _epochs(request)
        stats = {"start_ts": int(started), "total_epochs": epochs, "epoch": 0, "best_metric": 0.0}
        write_text_atomic(self.stats_file, json.dumps(stats))  # from now on this run is the newest
        sections, empty = self.check(request, datastore)
        run_dir = self.model.weights_dir / "runs" / datetime.now().strftime("%Y%m%d_%H%M%S_%f")
        run_dir.mkdir(parents=True)
        sections = {
            name: [write_renumbered(case, run_dir / "labels") for case in cases]
            for name, cases in sections.items()
        }
        content = json.dumps({**sections, "testing": []}, indent=1)
        write_text_atomic(run_dir / "datalist.json", content + "\n")
        cases = sections["training"] + sections["validation"]
        concepts = measured_concepts(cases, self.model.bundle)
        write_text_atomic(run_dir / "concepts.json", json.dumps(concepts, indent=1) + "\n")
        parser = self._parser(run_dir, epochs)
        pretrained = read_flag("pretrained", request.get("pretrained", True))
        served = self._served_state()
        if not pretrained or served is None:
            _make_more_steps(parser)
        parser.get_parsed_content("initialize", default=None)
        before = self._start_weights(parser, served, pretrained)
        stats |= {
            "metric_before": before,
            "training_cases": len(sections["training"]),
            "validation_cases": len(sections["validation"]),
            "empty_labels": empty,
        }
        keeper = _keeper(parser)
        self._watch(parser.get_parsed_content("train#trainer"), keeper, stats, started)
        parser.get_parsed_content("run")
        stats["published"] = self._publish(run_dir / "model.pt", keeper, before, stats)
        keeper.last_path.unlink(missing_ok=True)  # for resuming only
        stats["total_time"] = round(time.time() - started, 1)
        write_text_atomic(self.stats_file, json.dumps(stats))
        return stats

    def _parser(self, run_dir: Path, epochs: int) -> ConfigParser:
        """The bundle's train config for this run."""
        parser = read_config(self.model.bundle.path, "train")
        parser.update(
            {
                "dataset_dir": str(run_dir / "datalist.json"),
                "output_dir": str(run_dir),
                "ckpt_dir": str(run_dir),
                "split_file": str(run_dir / "split.json"),
                "val_fraction": 0.0,
                "test_fraction": 0.0,
                "max_epochs": epochs,
                "val_interval": 1,
                "num_workers": 0,
                "resume": False,
                "device": torch.device(str(self.model.device)),
            }
        )
        return parser

    def _served_state(self) -> dict[str, torch.Tensor] | None:
        """State of the weights served now; None without any, and when they do not fit the bundle."""
        if not self.model.is_valid():
            return None
        try:
            return self.model.read_weights().state_dict()
        except ValueError as error:  # as after a change of the labels or of the network
            logger.warning("the training starts from fresh weights: %s", error)
            return None

    @staticmethod
    def _start_weights(
        parser: ConfigParser, served: Mapping[str, torch.Tensor] | None, pretrained: bool
    ) -> float | None:
        """Validation Dice of the weights served now (None without); they stay loaded if wanted."""
        if served is None:
            return None
        network = parser.get_parsed_content("network")
        fresh = copy.deepcopy(network.state_dict())
        network.load_state_dict(served)
        evaluator = parser.get_parsed_content("validate#evaluator")
        evaluator.run()
        before = float(evaluator.state.metrics[evaluator.state.key_metric_name])
        evaluator.state.metrics = {}  # the keeper must not take them for the first epoch's
        evaluator.state.best_metric = -1
        logger.info("validation Dice of the served weights: %.4f", before)
        if not pretrained:
            network.load_state_dict(fresh)
        return before

    def _watch(
        self, trainer: Engine, keeper: CheckpointKeeper, stats: dict[str, Any], started: float
    ) -> None:
        """Write the progress after each epoch."""

        def write(engine: Engine) -> None:
            stats["epoch"] = engine.state.epoch
            stats["best_metric"] = round(keeper.state["best_metric"] or 0.0, 4)
            stats["elapsed_time"] = round(time.time() - started, 1)
            write_text_atomic(self.stats_file, json.dumps(stats))

        trainer.add_event_handler(Events.STARTED, write)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, write)

    def _publish(
        self, new: Path, keeper: CheckpointKeeper, before: float | None, stats: dict[str, Any]
    ) -> bool:
        """Serve the new weights when they are not worse; the old ones go to `history`.

        Their version is in the statistics before they are served, so that nobody takes the numbers
        of this run for those of other weights.
        """
        after = keeper.state["best_metric"]
        if after is None or not new.is_file() or (before is not None and after < before):
            logger.info("the new weights (%s) are not served: before %s", after, before)
            return False
        if self.model.is_valid():
            history = self.model.weights_dir / "history"
            with atomic_path(history / f"model_{new.parent.name}.pt") as temporary:
                shutil.copyfile(self.model.weights, temporary)
        with atomic_path(self.model.weights_dir / "model.pt") as temporary:
            shutil.copyfile(new, temporary)
            stats["version"] = file_version(temporary)
            write_text_atomic(self.stats_file, json.dumps(stats))
        logger.info("the new weights (validation Dice %.4f) are served", after)
        return True


def split_cases(cases: list[dict[str, Any]], share: float) -> dict[str, list[dict[str, Any]]]:
    """Cases by section; each by a hash of its own name, so that it stays on its side while cases are added.

    Args:
        cases: image and label paths, at least two.
        share: of the cases to validate on, 0 to 1, nearly; at least one validates and one trains.
    """

    def place(case: dict[str, Any]) -> float:
        digest = hashlib.sha1(Path(case["image"]).name.encode()).digest()
        return int.from_bytes(digest, "big") / 256 ** len(digest)

    order = sorted(cases, key=place)
    count = min(len(order) - 1, max(1, sum(place(case) < share for case in order)))
    return {"training": order[count:], "validation": order[:count]}


def _keeper(parser: ConfigParser) -> CheckpointKeeper:
    """The config's checkpoint handler."""
    for handler in parser.get_parsed_content("train#handlers"):
        if isinstance(handler, CheckpointKeeper):
            return handler
    raise ValueError(
        "Expected a conceptseg.training.CheckpointKeeper among train#handlers, got none. Add it to"
        " the bundle's train config."
    )


def _make_more_steps(parser: ConfigParser) -> None:
    """Let every epoch of the config have `FRESH_STEPS` steps at least, its schedule included."""
    length = str(parser["train#epoch_length"]).removeprefix("$")
    set_epoch_length(parser, f"$max({FRESH_STEPS}, {length})")


def _epochs(request: Mapping[str, Any]) -> int:
    """`max_epochs`, a whole number from 1."""
    value = request.get("max_epochs", DEFAULT_EPOCHS)
    try:
        epochs = int(value)
    except (TypeError, ValueError):
        epochs = 0
    if not 1 <= epochs <= MAX_EPOCHS or isinstance(value, bool):
        raise bad_request(f"Expected 'max_epochs' from 1 to {MAX_EPOCHS}, got {value!r}.")
    return epochs


def _val_split(request: Mapping[str, Any]) -> float:
    """`val_split`, a share between 0 and 1."""
    value = request.get("val_split", DEFAULT_VAL_SPLIT)
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share < 1:
        raise bad_request(f"Expected 'val_split' between 0 and 1, got {value!r}; 0.2 is usual.")
    return share
