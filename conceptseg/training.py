"""Training handlers: resumable checkpoints with early stopping, progress, loss curves."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.data.utils import set_rnd
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.utils.enums import CommonKeys as Keys
from torch import nn

from .atomic import atomic_path
from .resuming import describe_changes, restore_optimizer, restore_schedule

logger = logging.getLogger(__name__)


def set_epoch_length(parser: ConfigParser, length: int | str) -> None:
    """Let every epoch of a train config have `length` optimizer steps, a number or an expression.

    The trainer is told as well: that of bundles made before takes one step per batch of its loader.
    """
    parser["train#epoch_length"] = length
    parser["train#trainer#epoch_length"] = "@train#epoch_length"


class CheckpointKeeper:
    """Keeps the best and the last checkpoint, resumes after a kill and stops early.

    `best_path` holds the network's weights alone, as bundles want it. `last_path` holds all that a resumed run
    needs to go on as if it had not been stopped: network, optimizer, schedule, position, best score
    so far, validations without progress and random states. Both are written atomically, by rank 0.
    Epochs, learning rate and weight decay are those of the resumed run's config.

    Args:
        network: the trained network (wrapped for several GPUs or not).
        optimizer: its optimizer.
        lr_scheduler: its schedule.
        evaluator: validation engine; its key metric decides, larger is better.
        best_path: file of the best weights.
        last_path: file of the resumable checkpoint.
        patience: validations without progress after which training stops; 0: never.
        resume: go on from `last_path` if it exists; otherwise an existing one is an error.
        judge_start: validate before the first epoch, so that the best is never worse than the start.
        recipe: plain values that decide the result, kept in `last_path`; a run resumed with others warns.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: Any,
        evaluator: SupervisedEvaluator,
        best_path: str,
        last_path: str,
        patience: int = 0,
        resume: bool = True,
        judge_start: bool = False,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        self.parts = {"optimizer": optimizer, "lr_scheduler": lr_scheduler}
        self.recipe = dict(recipe or {})
        self.network = getattr(network, "module", network)
        self.evaluator = evaluator
        self.best_path = Path(best_path)
        self.last_path = Path(last_path)
        self.patience = patience
        self.resume = resume
        self.judge_start = judge_start
        self.state = {"best_metric": None, "best_epoch": 0, "waited": 0, "validated": 0}
        self.trainer: Engine | None = None

    def attach(self, engine: SupervisedTrainer) -> None:
        """Act at the start and after each epoch of the trainer `engine`; attach after validation."""
        self.trainer = engine
        engine.add_event_handler(Events.STARTED, self._load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)

    def _load(self, engine: Engine) -> None:
        """Restore the last checkpoint."""
        if not self.last_path.exists():
            if self.judge_start:
                self.evaluator.run()
                self._judge(engine)
            return
        if not self.resume:
            raise FileExistsError(
                f"expected no earlier run in {self.last_path.parent}, got {self.last_path.name};"
                " set resume to true, or choose another output_dir"
            )
        saved = torch.load(self.last_path, map_location="cpu", weights_only=False)
        self._restore_network(saved["network"])
        self._restore_position(engine, saved)
        self._tell(engine, saved.get("recipe", {}))

    def _restore_network(self, weights: dict[str, Any]) -> None:
        """Load the weights, unless they are of another form of the network."""
        own = {id(parameter) for parameter in self.network.parameters()}
        self.network.load_state_dict(weights)
        if own != {id(parameter) for parameter in self.network.parameters()}:
            # it took the form of the weights, and the optimizer would train parts that it no longer has
            raise ValueError(
                f"expected in {self.last_path} the network of this recipe, got weights of another form of it;"
                " start from its best weights (start_weights) in another output_dir, or give the recipe"
                " that the run began with"
            )

    def _restore_position(self, engine: Engine, saved: dict[str, Any]) -> None:
        """Go to the epoch that `saved` had reached, with the moments, scores and random states of then."""
        self.state = saved["state"]
        engine.state.epoch = saved["epoch"]
        # an epoch may have another length than then
        engine.state.iteration = saved["epoch"] * engine.state.epoch_length
        schedule = saved["lr_scheduler"]
        per_iteration = schedule["last_epoch"] == saved["iteration"]
        step = engine.state.iteration if per_iteration else schedule["last_epoch"]
        restore_optimizer(self.parts["optimizer"], saved["optimizer"])
        restore_schedule(self.parts["lr_scheduler"], schedule, step)
        random.setstate(saved["random"][0])
        np.random.set_state(saved["random"][1])
        torch.set_rng_state(saved["random"][2])
        loader = engine.state.dataloader
        if isinstance(loader, DataLoader) and loader.num_workers == 0:
            # its transforms draw from states of their own, which would start again as in epoch 1
            set_rnd(loader.dataset, torch.initial_seed() + saved["epoch"])

    def _tell(self, engine: Engine, recipe: Mapping[str, Any]) -> None:
        """Say how training goes on, or why it does not and what to do."""
        epoch, waited = engine.state.epoch, self.state["waited"]
        changes = describe_changes(recipe, self.recipe)
        if changes:
            logger.warning(
                "%s was begun with another recipe: %s; to train this one alone, choose another output_dir",
                self.last_path,
                changes,
            )
        if epoch >= engine.state.max_epochs:
            logger.warning(
                "nothing to train: %s is at epoch %d of %d; raise max_epochs to go on, or choose another"
                " output_dir to train anew",
                self.last_path,
                epoch,
                engine.state.max_epochs,
            )
        elif self.patience and waited >= self.patience:
            logger.warning(
                "nothing to train: %s stopped early after epoch %d, no better validation in %d; raise"
                " patience (0: never stop early) to go on, or choose another output_dir to train anew",
                self.last_path,
                epoch,
                waited,
            )
            engine.terminate()
        else:
            logger.info(
                "training goes on from epoch %d of %d, resumed from %s",
                epoch + 1,
                engine.state.max_epochs,
                self.last_path,
            )

    def _after_epoch(self, engine: Engine) -> None:
        """Judge a new validation, save, stop early."""
        if self.evaluator.state.iteration and self.evaluator.state.metrics:
            self._judge(engine)
        if self._is_main():
            self._save(engine)
        if self.patience and self.state["waited"] >= self.patience:
            logger.info(
                "stopped early: no better validation in %d, best %.4f after epoch %d",
                self.state["waited"],
                self.state["best_metric"],
                self.state["best_epoch"],
            )
            engine.terminate()

    def _judge(self, engine: Engine) -> None:
        """Compare the newest validation, if there is one since the last call, with the best."""
        metric = self.evaluator.state.metrics[self.evaluator.state.key_metric_name]
        self.evaluator.state.metrics = {}
        best = self.state["best_metric"]
        if best is None or metric > best:
            self.state |= {
                "best_metric": float(metric),
                "best_epoch": engine.state.epoch,
                "waited": 0,
            }
            if self._is_main():
                with atomic_path(self.best_path) as temporary:
                    torch.save(self.network.state_dict(), temporary)
        else:
            self.state["waited"] += 1
        logger.info("validation %.4f, best %.4f", metric, self.state["best_metric"])

    def _save(self, engine: Engine) -> None:
        """Write the resumable checkpoint."""
        content = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {
            "network": self.network.state_dict(),
            "recipe": self.recipe,
            "state": self.state,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "random": (random.getstate(), np.random.get_state(), torch.get_rng_state()),
        }
        with atomic_path(self.last_path) as temporary:
            torch.save(content, temporary)

    @staticmethod
    def _is_main() -> bool:
        """True in a single process and on rank 0."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        return not distributed or torch.distributed.get_rank() == 0


class TrainingProgress:
    """Logs after each epoch how far training is and how long the rest will take."""

    def attach(self, engine: Engine) -> None:
        """Log for the trainer `engine`."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _start(self, engine: Engine) -> None:
        """Note the time; a resumed run starts at its epoch."""
        self.start, self.first_epoch = time.monotonic(), None

    def _report(self, engine: Engine) -> None:
        """Epochs done, seconds per epoch, minutes left."""
        if self.first_epoch is None:
            self.first_epoch = engine.state.epoch - 1
        each = (time.monotonic() - self.start) / (engine.state.epoch - self.first_epoch)
        left = each * (engine.state.max_epochs - engine.state.epoch)
        logger.info(
            "epoch %d of %d, loss %.4f, %.1f s per epoch, about %.0f min left",
            engine.state.epoch,
            engine.state.max_epochs,
            float(engine.state.output[Keys.LOSS]),
            each,
            left / 60,
        )


class LossScalars:
    """Handler that writes every part of the training loss to TensorBoard.

    Args:
        log_dir: TensorBoard folder.
        interval: iterations between two entries.
    """

    def __init__(self, log_dir: str, interval: int = 10) -> None:
        self.log_dir = log_dir
        self.interval = interval
        self.writer = None

    def attach(self, engine: Engine) -> None:
        """Write during the run of `engine`, close at its end."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._write)
        engine.add_event_handler(Events.COMPLETED, lambda _: self.writer and self.writer.close())

    def _write(self, engine: Engine) -> None:
        """One entry per part."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(self.log_dir)
        for name, value in engine.state.output[Keys.PRED]["losses"].items():
            self.writer.add_scalar(f"loss/{name}", float(value), engine.state.iteration)
