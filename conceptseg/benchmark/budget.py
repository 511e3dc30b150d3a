"""Budgets: how many optimiser steps a run gets, and what it really used."""

from __future__ import annotations

import time

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.utils.enums import CommonKeys as Keys

_WARM_STEPS = 2  # not timed: memory is allocated in the first
_TIMED_STEPS = 10  # at least


def steps_of(images: float, images_per_step: int, validations: int) -> tuple[int, int]:
    """Optimiser steps between two validations, and the number of validations, for a budget.

    Args:
        images: seen in training.
        images_per_step: of the optimiser.
        validations: wanted; fewer when there are not as many steps, or more where that keeps closer to
            the budget, which is never exceeded.

    Raises:
        ValueError: for a budget below one step.
    """
    steps = int(images // images_per_step)
    if steps < 1:
        raise ValueError(
            f"expected a budget of at least one step of {images_per_step} images, got {images:g};"
            " raise it"
        )
    between = max(1, steps // validations)
    return between, steps // between


def train_clock(device: torch.device) -> float:
    """Seconds: processor time of this process, which other work on the machine does not lengthen; on a
    GPU the wall clock."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


class BudgetMeter:
    """Handler that counts images and seconds of training, validation left out; attach it first."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self.steps = 0
        self.curve: list[dict[str, float]] = []  # at the end of each epoch: images, seconds

    def attach(self, engine: Engine) -> None:
        """Count during the run of `engine`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._stop)

    def _start(self, engine: Engine) -> None:
        """Note the time."""
        self._since = train_clock(engine.state.device)

    def _count(self, engine: Engine) -> None:
        """Count the images of the batch."""
        self.images += len(engine.state.batch[Keys.IMAGE])
        self.steps += 1

    def _stop(self, engine: Engine) -> None:
        """Add the seconds of the epoch."""
        self.seconds += train_clock(engine.state.device) - self._since
        self.curve.append({"images": self.images, "seconds": self.seconds})


class ValidationCurve:
    """Handler of the evaluator that keeps the key metric of every validation in `values`."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def attach(self, engine: SupervisedEvaluator) -> None:
        """Keep the metrics of `engine`."""
        engine.add_event_handler(Events.COMPLETED, self._keep)

    def _keep(self, engine: SupervisedEvaluator) -> None:
        """Append the newest."""
        self.values.append(float(engine.state.metrics[engine.state.key_metric_name]))


class StepTimer:
    """Handler that times the steps of a throw-away run and ends it: `seconds_per_step`, loading included.

    Args:
        seconds: so long it lasts, or ten timed steps if these take longer.
    """

    most_steps = 10_000

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def attach(self, engine: Engine) -> None:
        """Time `engine`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._tick)

    def _tick(self, engine: Engine) -> None:
        """Start after the warm steps, end the run after the seconds."""
        now = train_clock(engine.state.device)
        timed = engine.state.iteration - _WARM_STEPS
        if timed == 0:
            self._since = now
        if timed < _TIMED_STEPS:
            return
        self.seconds_per_step = (now - self._since) / timed
        if now - self._since >= self.seconds:
            engine.terminate()
