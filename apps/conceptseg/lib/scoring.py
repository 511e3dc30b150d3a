"""Scores kept with the studies: agreement of the model with saved labels, and its uncertainty."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.tasks.scoring import ScoringMethod
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

from conceptseg.evaluation import evaluate_case
from conceptseg.image_io import ConceptImageReader

from .model import ServedModel
from .preflight import label_numbers
from .renumber import is_foreign, own_values, renumbered
from .store import labeled_ids
from .strategies import choose_model, score_file

logger = logging.getLogger(__name__)


def on_axes_of(label: np.ndarray, affine: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A label map in the order and direction of the axes of another grid; a server may keep it in its own.

    Args:
        label: (X, Y, Z).
        affine: (4, 4), voxel to mm, of the label.
        target: (4, 4) of the grid it is brought to.
    """
    affines = (np.asarray(a, dtype=np.float64) for a in (affine, target))
    return apply_orientation(label, ornt_transform(*map(io_orientation, affines)))


class DiceScore(ScoringMethod):
    """Dice of the text-free mask against each saved final label.

    Args:
        served: bundle name -> its model; the request's `model` chooses, else the first.
    """

    def __init__(self, served: Mapping[str, ServedModel]) -> None:
        super().__init__("Dice of the automatic mask against the saved labels")
        self.served = served

    def __call__(self, request: Mapping[str, Any], datastore) -> dict[str, Any]:
        """Score all labelled images; each score is noted with its label."""
        model = choose_model(self.served, request.get("model"))
        scores: dict[str, dict[str, float]] = {}
        for image in labeled_ids(datastore):
            try:
                found = self._score(model, image, datastore)
            except Exception:  # one label must not stop the others
                logger.warning("label of '%s' cannot be scored", image, exc_info=True)
                continue
            if found is not None:
                scores[image] = found
        means = [float(np.mean(list(score.values()))) for score in scores.values()]
        return {
            "model": model.bundle.name,
            "mean_dice": round(float(np.mean(means)), 4) if means else None,
            "cases": len(scores),
            "dice": scores,
        }

    def _score(self, model: ServedModel, image: str, datastore) -> dict[str, float] | None:
        """Dice by label name of one image, noted with its label; None for another bundle's."""
        label = datastore.get_label_uri(image, DefaultLabelTag.FINAL)
        info = datastore.get_label_info(image, DefaultLabelTag.FINAL).get("label_info")
        names = [n for m in self.served.values() for n in m.bundle.keywords]
        if is_foreign(info, model.bundle, names):
            return None
        values = own_values(info, model.bundle)
        rows = self._rows(model, datastore.get_image_uri(image), label, values)
        dice = {row["label"]: round(row["dice"], 4) for row in rows}
        entry = {"score": {"dice": dice, "model_version": model.version()}}
        datastore.update_label_info(image, DefaultLabelTag.FINAL, entry)
        return dice

    @staticmethod
    def _rows(
        model: ServedModel, image: str, label: str, values: Mapping[int, int]
    ) -> list[dict[str, Any]]:
        """A row per label name."""
        case, _ = model.case(image)
        proposal = model.to_original(case, model.text_free(case).probabilities)
        mask = model.clean(proposal.numpy())
        reader = ConceptImageReader(is_label=True)
        (reference, *_), meta = reader.get_data(reader.read(label))
        if model.bundle.dimension == 3:
            reference = on_axes_of(reference, meta["affine"], proposal.affine)
        reference = renumbered(reference, values)
        keywords = model.bundle.keywords
        reference = label_numbers(reference, model.bundle)
        return evaluate_case(mask, reference.reshape(mask.shape), keywords)


class UncertaintyScore(ScoringMethod):
    """Uncertainty of the text-free mask of every image without a final label.

    Args:
        served: bundle name -> its model; the request's `model` chooses, else the first.
    """

    def __init__(self, served: Mapping[str, ServedModel]) -> None:
        super().__init__("Disagreement of the automatic masks of the image and its mirror image")
        self.served = served

    def __call__(self, request: Mapping[str, Any], datastore) -> dict[str, Any]:
        """Score all unlabelled images; each score is noted with its image."""
        model = choose_model(self.served, request.get("model"))
        scores: dict[str, float] = {}
        for image in sorted(datastore.get_unlabeled_images()):
            try:
                score = round(score_file(model, datastore.get_image_uri(image)), 4)
                datastore.update_image_info(image, {"uncertainty": score})
            except Exception:  # one image must not stop the others
                logger.warning("'%s' cannot be scored", image, exc_info=True)
                continue
            scores[image] = score
        return {"model": model.bundle.name, "cases": len(scores), "uncertainty": scores}
