"""What a training run cost: time, images seen, hardware, an estimate of energy and carbon."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys as Keys

from .atomic import write_text_atomic


class TrainingRecord:
    """Writes training.json after every epoch; a resumed run adds to it. Rank 0 writes.

    Args:
        path: the file.
        watts: assumed mean power of the machine, for the energy estimate.
        grams_per_kwh: assumed carbon intensity of its electricity, for the carbon estimate.
    """

    def __init__(self, path: str, watts: float = 100.0, grams_per_kwh: float = 480.0) -> None:
        self.path = Path(path)
        self.watts = watts
        self.grams_per_kwh = grams_per_kwh
        self.before: dict[str, Any] = {}
        self.images = 0

    def attach(self, engine: Engine) -> None:
        """Follow the trainer `engine`; attach behind the handler that resumes."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        """Take over what an earlier part of this run has written."""
        self.start, self.images, self.before = time.monotonic(), 0, {}
        if engine.state.epoch and self.path.is_file():
            self.before = json.loads(self.path.read_text(encoding="utf-8"))

    def _count(self, engine: Engine) -> None:
        """Images of an iteration, on all ranks."""
        self.images += len(engine.state.output[Keys.IMAGE]) * _ranks()

    def _write(self, engine: Engine) -> None:
        """Write the sums so far."""
        if _ranks() > 1 and torch.distributed.get_rank():
            return
        seconds = self.before.get("seconds", 0) + time.monotonic() - self.start
        energy = seconds / 3600 * self.watts / 1000
        device = engine.state.device
        is_gpu = getattr(device, "type", "cpu") == "cuda"
        record = {
            "epochs": engine.state.epoch,
            "images_seen": self.before.get("images_seen", 0) + self.images,
            "seconds": round(seconds, 1),
            "hours": round(seconds / 3600, 2),
            "device": torch.cuda.get_device_name(device) if is_gpu else platform.machine() + " CPU",
            "processes": _ranks(),
            "threads": torch.get_num_threads(),
            "pytorch": torch.__version__,
            "assumed_watts": self.watts,
            "assumed_grams_per_kwh": self.grams_per_kwh,
            "estimated_kwh": round(energy, 3),
            "estimated_grams_co2": round(energy * self.grams_per_kwh, 1),
        }
        write_text_atomic(self.path, json.dumps(record, indent=1) + "\n")


def _ranks() -> int:
    """Processes that train together."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if distributed else 1
