"""The package's strategies, as MONAI Label calls them: batches of images with the reason for each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy

from conceptseg.active_learning import Pick, Pool
from conceptseg.active_learning import Strategy as PickingStrategy
from conceptseg.atomic import write_text_atomic

from .background import UNTRAINED
from .desk import Desk
from .naming import choose_model
from .options import first_of
from .problems import bad_request

DEFAULT_BATCH = 10


class BatchStrategy(Strategy):
    """A strategy of the package: batches of k images, picked from the scores computed in the background.

    A batch is kept on disk and handed out image by image; new weights make a new batch.

    Args:
        picking: the package's strategy.
        desk: for scores and measured concepts.
    """

    def __init__(self, picking: PickingStrategy, desk: Desk) -> None:
        super().__init__(picking.description)
        self.picking = picking
        self.desk = desk
        self.file = desk.folder / "batches" / f"{picking.name}.json"

    def options(self) -> dict[str, Any]:
        """For the clients."""
        return {"batch": DEFAULT_BATCH, "model": list(self.desk.served)}

    def __call__(self, request: Mapping[str, Any], datastore) -> dict[str, Any] | None:
        """The next image of the batch and why it was picked; None when no image is left."""
        count = _batch(request.get("batch", DEFAULT_BATCH))
        name = choose_model(self.desk.served, first_of(request.get("model"))).bundle.name
        free = sorted(
            datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        )
        if not free:
            return None
        version, records = self.desk.scores.records(name, datastore.list_images())
        state = {"model": name, "version": version, "count": count}
        picks = [pick for pick in self._kept(state) if pick.name in free]
        if not picks:
            labelled = sorted(datastore.get_labeled_images())
            picks = self._pick(state, records, free, labelled)
            content = state | {"picks": [vars(pick) for pick in picks]}
            write_text_atomic(self.file, json.dumps(content, indent=1) + "\n")
        chosen = picks[0]
        return {
            "id": chosen.name,
            "weight": round(chosen.score, 4),
            "reason": chosen.reason,
            "model": name,
            "model_version": version,
            "batch_left": len(picks) - 1,
            "scored": len(records),
        }

    def _kept(self, state: Mapping[str, Any]) -> list[Pick]:
        """The batch on disk, unless model, weights or size have changed."""
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            picks = [Pick(**pick) for pick in content.pop("picks")]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return picks if content == state else []

    def _pick(
        self,
        state: Mapping[str, Any],
        records: Mapping[str, Any],
        free: list[str],
        labelled: list[str],
    ) -> list[Pick]:
        """A new batch, by chance while there is nothing to choose by."""
        name, count = state["model"], state["count"]
        scored = [image for image in free if image in records]
        round_number = int(math.log2(1 + len(labelled) / count))  # grows as budgets double
        if not scored:
            return _by_chance(free, count, len(labelled), "no image is scored yet")
        if state["version"] == UNTRAINED and self.picking.needs_weights:
            return _by_chance(free, count, len(labelled), "the model has no weights yet")
        concepts = self.desk.labelled_concepts(name, labelled)
        pool = Pool.from_records(
            records.values(), self.desk.served[name].bundle.keywords, concepts, scored
        )
        return self.picking.pick(pool, count, round_number, seed=len(labelled))


def _by_chance(free: list[str], count: int, seed: int, why: str) -> list[Pick]:
    """What is offered while there is nothing to choose by."""
    order = np.random.default_rng(seed).permutation(len(free))[:count]
    return [Pick(free[i], 0.0, f"chosen by chance: {why}") for i in order]


def _batch(value: Any) -> int:
    """`batch`, a whole number from 1; error 400 otherwise."""
    try:
        count = int(first_of(value))
    except (TypeError, ValueError):
        count = 0
    if not 1 <= count <= 1000:
        raise bad_request(f"Expected 'batch' from 1 to 1000, got {value!r}; 10 is usual.")
    return count
