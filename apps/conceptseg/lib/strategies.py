"""Which image to annotate next. Add a strategy to `STRATEGIES` and the clients offer it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

from conceptseg.active_learning import STRATEGIES as PACKAGE_STRATEGIES
from conceptseg.active_learning import Strategy as PickingStrategy

from .batch_strategy import BatchStrategy
from .desk import Desk
from .leased_strategy import LeasedStrategy
from .model import ServedModel
from .naming import choose_model, trained_model
from .options import first_of
from .retries import ImageTries

__all__ = ["STRATEGIES", "AnyImage", "MostUncertain", "choose_model", "score_file"]

logger = logging.getLogger(__name__)

DEFAULT = "concept_disagreement"  # comes first, where clients begin; ahead in simulated rounds
TIME_BUDGET_S = 20.0  # clients show no progress while they wait for the next sample


class AnyImage(Random):
    """An unlabelled image by chance, the longer ago it was offered the likelier.

    MONAI Label's own choice fails where every image left was offered within the same second.
    """

    def __call__(self, request: Mapping[str, Any], datastore) -> dict[str, Any] | None:
        """Name and weight (seconds) of the image; None when all are labelled."""
        try:
            return super().__call__(request, datastore)
        except ValueError:  # of random.choices: the weights add up to nothing
            images = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
            return {"id": random.choice(images), "weight": 0}


class MostUncertain(Strategy):
    """The unlabelled image whose text-free mask is least certain.

    Scores are the model's `uncertainty`, remembered per image and weights. `prepare` computes them;
    images for which its time budget is too short wait for the next one.

    Args:
        served: bundle name -> its model; the request's `model` chooses, else the first.
    """

    def __init__(self, served: Mapping[str, ServedModel]) -> None:
        super().__init__(
            "The image whose mask is least certain (that of its mirror image differs most)"
        )
        self.served = served
        self.scores: dict[tuple[str, str, str], float] = {}
        self._tries = ImageTries()

    def options(self) -> dict[str, Any]:
        """For the clients."""
        return {"model": list(self.served)}

    def prepare(self, request: Mapping[str, Any], datastore) -> None:
        """Score the unlabelled images, at least one, until the time is used up.

        Images on which that fails rest meanwhile, see `ImageTries`.

        Raises:
            HTTPException: 400 when the model has no usable weights.
        """
        model = self._model(request)
        version = model.version()
        start, any_tried = time.monotonic(), False
        for image in _unlabelled(request, datastore):
            key = (model.bundle.name, version, image)
            if key in self.scores or not self._tries.may_be_tried(key):
                continue
            if any_tried and time.monotonic() - start > TIME_BUDGET_S:
                return
            any_tried = True
            score = self._tries.run(key, image, datastore, lambda path: score_file(model, path))
            if score is not None:
                self.scores[key] = score

    def __call__(self, request: Mapping[str, Any], datastore) -> dict[str, Any] | None:
        """Name and score of the image among those scored; None when all are labelled."""
        model, images = self._model(request), _unlabelled(request, datastore)
        if not images:
            return None
        name, version = model.bundle.name, model.version()
        keys = {image: (name, version, image) for image in images}
        scores = {image: self.scores[key] for image, key in keys.items() if key in self.scores}
        chosen = max(scores, key=scores.__getitem__) if scores else images[0]
        logger.info("uncertainty: %s of %d scored of %d", chosen, len(scores), len(images))
        return {
            "id": chosen,
            "weight": round(scores.get(chosen, 0), 4),
            "scored": len(scores),
            "model": name,
            "model_version": version,
        }

    def _model(self, request: Mapping[str, Any]) -> ServedModel:
        """The model a request names."""
        return trained_model(self.served, first_of(request.get("model")))


def _unlabelled(request: Mapping[str, Any], datastore) -> list[str]:
    """Images without a label, sorted."""
    return sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))


def score_file(model: ServedModel, path: str) -> float:
    """Uncertainty of the text-free mask of an image file."""
    case, _ = model.case(path)
    return max(model.uncertainty(case))


_Factory = Callable[[Desk], Strategy]


def _leased(name: str, make: _Factory) -> _Factory:
    """A factory whose strategy respects leases."""
    return lambda desk: LeasedStrategy(name, make(desk), desk)


def _batches(picking: PickingStrategy) -> _Factory:
    """A factory of one of the package's strategies."""
    return lambda desk: BatchStrategy(picking, desk)


_PICKING = {name: _batches(p) for name, p in PACKAGE_STRATEGIES.items() if p.needs_scores}
_FACTORIES: dict[str, _Factory] = {
    DEFAULT: _PICKING[DEFAULT],
    "random": lambda desk: AnyImage(),
    "first": lambda desk: First(),
    "uncertainty": lambda desk: MostUncertain(desk.served),
    **_PICKING,
}
STRATEGIES = {name: _leased(name, make) for name, make in _FACTORIES.items()}
